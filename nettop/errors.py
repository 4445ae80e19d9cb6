"""The errors of nettop. Each has an exit code of the contract and a line that says what failed and what to do."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DAMAGED = 3
EXIT_NOT_PERMITTED = 4
EXIT_LOSS = 5
EXIT_INTERRUPTED = 130


class NettopError(Exception):
    """A failure and its remedy. `str()` is the line a person reads."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class UsageError(NettopError):
    """A command line that names something that does not exist."""

    exit_code = EXIT_USAGE


class FilterError(UsageError):
    """A display or capture filter that does not parse. `position` is the index of the error; None: unknown."""

    def __init__(self, message: str, expression: str, position: int | None = None) -> None:
        super().__init__(message)
        self.expression = expression
        self.position = position

    def caret(self) -> str:
        """Return the expression and, on a second line if the position is known, a caret under the error."""
        if self.position is None:
            return self.expression
        return f"{self.expression}\n{' ' * self.position}^"

    def __str__(self) -> str:
        return f"{self.message}\n  " + self.caret().replace("\n", "\n  ")


class StdoutError(NettopError):
    """Standard output cannot be written, for example on a full disk, although its reader may still be there."""


class InputError(NettopError):
    """A file that cannot be opened, or that is in no format nettop reads."""


class DamagedInput(NettopError):
    """A file that is damaged from byte `offset` on. The records before it have been read."""

    exit_code = EXIT_DAMAGED

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class BrokerError(NettopError):
    """A request that the broker could not fulfil: the kernel refused, the object is gone, or the broker ended."""


class NotPermitted(BrokerError):
    """A missing right; `message` names the capability."""

    exit_code = EXIT_NOT_PERMITTED
