"""Where the process begins: ``proprune`` and ``python -m proprune_cli``. Ctrl-C may come while it imports."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the console script."""
    try:
        from proprune_cli.cli.app import main as run
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BaseException as error:
        # An extension module that is interrupted raises what it likes.
        if isinstance(error.__context__, KeyboardInterrupt) or isinstance(error.__cause__, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
            sys.exit(130)
        raise
    try:
        run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
