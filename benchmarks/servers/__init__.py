"""Echo servers, one file a library, each a program: ``python -m benchmarks.servers.NAME``."""
