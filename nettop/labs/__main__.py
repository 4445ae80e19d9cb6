"""The lab's command, which labs.client runs: `python -I -S -B nettop/labs/__main__.py` (see nettop.broker.__main__)."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.append(__file__.rsplit("/", 3)[0])
    from nettop.labs.program import main

    sys.exit(main())
