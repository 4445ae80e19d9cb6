"""`python -m nettop` and the `nettop` command."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def main() -> int:
    """Run nettop with sys.argv and return the exit code. `--version` answers before anything is imported."""
    is_open = None not in (sys.stdout, sys.stderr)  # when started with `>&-` the stream does not exist
    if sys.argv[1:] in (["--version"], ["-V"]) and is_open and _version():
        return 0
    # NumPy's BLAS would start threads at import, which cannot all drop their capabilities; nettop multiplies no matrix.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from nettop.cli import main as cli_main

    return cli_main(sys.argv[1:])


def _version() -> bool:
    """Print the version. Return False if stdout cannot be written: cli.main() then reports that."""
    from nettop import __version__

    with suppress(OSError):
        print(f"nettop {__version__}", flush=True)
        return True
    return False


def run() -> None:
    """Run main() and end the process with its code, without freeing first what it has read: that takes 0.1 s."""
    code = main()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    run()
