"""Start the command: `portaldb`, or `python -m portaldb`."""

from portaldb.layout import load_cli


def main() -> None:
    """Run the command line of cli.py."""
    load_cli()()


if __name__ == "__main__":
    main()
