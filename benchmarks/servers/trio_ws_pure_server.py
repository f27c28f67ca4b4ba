"""This library without its C extension."""

import os

os.environ["TRIO_WS_PURE_PYTHON"] = "1"

import trio

from .settings import read_settings
from .trio_ws_server import main

if __name__ == "__main__":
    trio.run(main, read_settings())
