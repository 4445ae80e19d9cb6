"""Run by test_terminal.py in a pty of its own: the real app on plain rows. `fail` breaks it from inside."""

from __future__ import annotations

import sys

from nettop.errors import NettopError
from nettop.session.status import Status
from nettop.ui.terminal import run_app
from tests.ui.plain_session import PlainSession, session


class Failing(PlainSession):
    """Raises on the UI thread after a while."""

    asked_status = 0

    def status(self) -> Status:
        self.asked_status += 1
        if self.asked_status > 4:
            raise RuntimeError("broken on\x1b[31m purpose")
        return self.facts


def main() -> int:
    source = session()
    if "fail" in sys.argv:
        source = Failing(source.views)
    try:
        return run_app(source, theme=sys.argv[1])
    except NettopError as error:
        print(f"nettop: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.exit(code)
