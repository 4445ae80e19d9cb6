"""The demo as the app sees it: a broker inside the lab, or a recording where no lab can be built."""

from __future__ import annotations

import json
import select
import subprocess
from contextlib import suppress
from pathlib import Path

from nettop.broker import options, wire
from nettop.broker.client import Broker
from nettop.broker.failures import from_fields
from nettop.broker.start import attach, isolated
from nettop.errors import BrokerError, InputError
from nettop.labs.catalogue import DEFAULT

BUILD_SECONDS = 30.0
END_SECONDS = 5.0
RECORDING = "demo-gw-a.pcapng"


class Demo:
    """A lab that ends with this process in any case. BrokerError, NotPermitted for one, where it cannot be built."""

    def __init__(self, lab: str = DEFAULT, *, read_only: bool = False, confine: bool = True) -> None:
        """Build the lab of this name, then confine this process (`confine`). `read_only`: that of its broker."""
        ours, theirs = wire.pair()
        command = isolated("nettop.labs", lab, *options.for_app(read_only=read_only).arguments())
        with theirs:
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        try:
            line = self._first_line()
            if line != b"ready\n":
                raise from_fields(_fields(line))
            self.broker = attach(ours, confine=confine)  # before it starts a thread
        except BaseException:
            ours.close()
            self._process.kill()  # the kernel ends all of the lab with it
            self._process.wait()
            raise

    def __enter__(self) -> Broker:
        return self.broker

    def __exit__(self, *_: object) -> None:
        self.broker.close()  # the lab's first process ends with it, and all of the lab
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(PermissionError):  # started as root, ended as a user
                self._process.kill()

    def _first_line(self) -> bytes:
        """Return the lab's one line of output. BrokerError when there is none in time."""
        assert self._process.stdout is not None
        with self._process.stdout as out:
            if not select.select([out], [], [], BUILD_SECONDS)[0]:
                raise BrokerError(f"the lab was not ready after {BUILD_SECONDS:.0f} s")
            return out.readline()


def _fields(line: bytes) -> dict[str, object]:
    """Return the fields of the error that a lab reported; without such a report, it just ended."""
    with suppress(ValueError):
        fields = json.loads(line)
        if isinstance(fields, dict):
            return fields
    return {"what": "the lab could not be built"}


def bundled() -> str:
    """Return the recording of the lab that comes with nettop. InputError when it is missing."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_data" / "captures", package.parent / "captures"):
        if (folder / RECORDING).exists():
            return str(folder / RECORDING)
    raise InputError("the bundled recording of the demo is missing", "install nettop again")
