"""The version, in one place for the package and for what it says of itself on the wire."""

from importlib.metadata import version

__all__ = ["SERVER_HEADER", "USER_AGENT", "__version__"]

__version__ = version("trio_ws")

#: Defaults of the Server and User-Agent headers.
SERVER_HEADER = USER_AGENT = f"trio_ws/{__version__}"
