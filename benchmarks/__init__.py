"""What a message and a connection cost, here and in other libraries. ``nox -s bench`` runs it."""
