"""Start the command: `portaldb`, or `python -m portaldb`."""

import atexit
import gc
import sys

from portaldb.layout import load_cli


def main() -> None:
    """Run the command line of cli.py."""
    # Modules are many objects and hardly any garbage: to look for it while they load, and once more at the end, is
    # a fifth of a short command's time.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    try:
        load_cli()()
    except KeyboardInterrupt:  # while cli.py was loading; later ones are its own to answer
        sys.exit(130)


if __name__ == "__main__":
    main()
