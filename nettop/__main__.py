"""`python -m nettop` and the `nettop` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run nettop with sys.argv; returns the exit code. `--version` answers before anything is imported."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from nettop import __version__

        print(f"nettop {__version__}")
        return 0
    from nettop.cli import main as cli_main

    return cli_main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
