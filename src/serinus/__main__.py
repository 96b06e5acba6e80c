"""The `serinus` command: ``python -m serinus`` and the console script. Holds no logic."""

from serinus.cli.app import app
from serinus.cli.completion import prepare

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code."""
    prepare()
    app(prog_name="serinus")


if __name__ == "__main__":
    main()
