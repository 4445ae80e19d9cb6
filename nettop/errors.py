"""Every way nettop can fail, with the exit code of the contract and one line that says what, where and what to do."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DAMAGED = 3
EXIT_NOT_PERMITTED = 4
EXIT_LOSS = 5
EXIT_INTERRUPTED = 130


class NettopError(Exception):
    """What happened, and what to do about it. `str()` is the one line a person reads."""

    exit_code = EXIT_FAILED

    def __init__(self, what: str, do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.do = do

    def __str__(self) -> str:
        return f"{self.what}: {self.do}" if self.do else self.what


class UsageError(NettopError):
    """The command line asks for something that does not exist."""

    exit_code = EXIT_USAGE


class FilterError(UsageError):
    """A display or capture filter that does not parse; `position` is the offending character, or None if not known."""

    def __init__(self, what: str, expression: str, position: int | None = None) -> None:
        super().__init__(what)
        self.expression = expression
        self.position = position

    def caret(self) -> str:
        """The expression and, below it, a caret under the error: two lines (one when the position is unknown)."""
        if self.position is None:
            return self.expression
        return f"{self.expression}\n{' ' * self.position}^"

    def __str__(self) -> str:
        return f"{self.what}\n  " + self.caret().replace("\n", "\n  ")


class StdoutError(NettopError):
    """Standard output takes no more (a full disk), though somebody may read it."""


class InputError(NettopError):
    """A file that cannot be opened, or is nothing nettop reads."""


class DamagedInput(NettopError):
    """A file that is broken from `offset` (bytes) on; what stood before it was given."""

    exit_code = EXIT_DAMAGED

    def __init__(self, what: str, offset: int, do: str = "") -> None:
        super().__init__(what, do)
        self.offset = offset


class BrokerError(NettopError):
    """The broker could not do what was asked: the kernel refused, the object is gone, or the broker ended."""


class NotPermitted(BrokerError):
    """A right is missing; `what` names the capability, `do` the remedy."""

    exit_code = EXIT_NOT_PERMITTED
