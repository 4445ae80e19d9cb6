"""The broker's command, which start.broker_command() builds: `python -I -S -B nettop/broker/__main__.py`.

Without the site module (-S) no .pth file of a venv runs as root; the package is then found from this file.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.append(__file__.rsplit("/", 3)[0])
    from nettop.broker.program import main

    sys.exit(main(sys.argv[1:]))
