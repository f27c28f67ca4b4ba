"""Clients that send a message and receive it again, one file a library: ``python -m benchmarks.clients.NAME``."""
