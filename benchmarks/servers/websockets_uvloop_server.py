"""websockets.asyncio, on uvloop."""

import uvloop

from .settings import read_settings
from .websockets_asyncio_server import main

if __name__ == "__main__":
    uvloop.run(main(read_settings()))
