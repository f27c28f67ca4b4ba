"""``python -m trio_ws``: the same as the ``trio-ws`` command."""

from trio_ws.cli import main

if __name__ == "__main__":
    main()
