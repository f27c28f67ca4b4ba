"""picows, on uvloop."""

import uvloop

from .picows_server import main
from .settings import read_settings

if __name__ == "__main__":
    uvloop.run(main(read_settings()))
