"""libpcap through ctypes: capture filters compiled to classic BPF, with a caret where libpcap gives none.

A handle of `pcap_open_dead` compiles `vlan` as if the tags were in the frame; a live socket strips them, so filters for
a ring come from a handle activated on the device (the kernel's ancillary loads). See pcap_compile(3PCAP),
pcap-filter(7).
"""

from __future__ import annotations

import ctypes
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache

from nettop.broker.capture_filter.words import LIVE_ONLY, PcapToken, looked_up, refuse_names, tokens
from nettop.errors import BrokerError, FilterError, NotPermitted
from nettop.linux.linktypes import LINKTYPE_ETHERNET, LINKTYPE_NETLINK

INSTRUCTION_SIZE = 8  # struct sock_filter, linux/filter.h
MAX_EXPRESSION = 16_384  # characters; libpcap's optimiser takes more than linear time
_SONAMES = ("libpcap.so.0.8", "libpcap.so.1", "libpcap.so")
_ERRBUF_SIZE = 256  # PCAP_ERRBUF_SIZE, pcap/pcap.h
_NETMASK_UNKNOWN = 0xFFFF_FFFF  # PCAP_NETMASK_UNKNOWN
_ERROR_NO_SUCH_DEVICE, _ERROR_PERM_DENIED, _ERROR_IFACE_NOT_UP = -5, -8, -9  # PCAP_ERROR_*
_SMALL_BUFFER = 65_536  # bytes: the handle only compiles
_DLT = {100: 11, 101: 12}  # LINKTYPE_ATM_RFC1483, LINKTYPE_RAW: pcap/dlt.h numbers that differ from linktypes.html


class _BpfProgram(ctypes.Structure):
    """struct bpf_program, pcap/bpf.h."""

    _fields_ = (("bf_len", ctypes.c_uint), ("bf_insns", ctypes.c_void_p))


def compile_program(linktype: int, expression: str, snaplen: int) -> bytes:
    """Return the expression as an array of struct sock_filter (8 bytes each), for frames that hold their own VLAN tags.

    For syntax checks and files; needs no rights. Raises FilterError (with the position), BrokerError without libpcap.
    """
    _check(linktype, expression)
    with _dead_handle(linktype, snaplen) as handle:
        return _compile(handle, expression, _NETMASK_UNKNOWN)


def bpf_filter() -> Callable[[ctypes.Array[ctypes.c_char], int, int, int], int]:
    """Return libpcap's interpreter: of a program, a packet's address, its lengths on the wire and here; 0: no match.

    It reads nothing beyond the packet (bpf_filter.c), and ends backward jumps (`protochain`) by the packet's length.
    """
    run: Callable[[ctypes.Array[ctypes.c_char], int, int, int], int] = _library().bpf_filter
    return run


def compile_live(device: str, snaplen: int, expression: str) -> bytes:
    """Compile for a packet socket bound to `device` of the current namespace (`vlan`, `inbound` and so on work).

    A device that is down cannot be activated: lo is used instead, then a dead handle unless the expression needs a
    live one. All handles are closed. Raises FilterError, BrokerError, NotPermitted.
    """
    _check(LINKTYPE_ETHERNET, expression)
    try:
        with _live_handle(device, snaplen) as handle:
            return _compile(handle, expression, _netmask(device))
    except _DeviceDown:
        return _compile_for_down_device(device, snaplen, expression)


def _compile_for_down_device(device: str, snaplen: int, expression: str) -> bytes:
    with suppress(_DeviceDown), _live_handle("lo", snaplen) as handle:
        return _compile(handle, expression, _NETMASK_UNKNOWN)
    if any(token.text in LIVE_ONLY for token in tokens(expression)):
        raise BrokerError(f"this capture filter cannot be compiled while {device} is down", f"ip link set {device} up")
    with _dead_handle(LINKTYPE_ETHERNET, snaplen) as handle:
        return _compile(handle, expression, _NETMASK_UNKNOWN)


def _check(linktype: int, expression: str) -> None:
    if "\0" in expression:
        raise FilterError("a filter must not contain a NUL character", expression, expression.index("\0"))
    if len(expression) > MAX_EXPRESSION:
        raise FilterError(f"a filter is at most {MAX_EXPRESSION} characters long", expression[:60] + "…")
    if linktype == LINKTYPE_NETLINK and expression.strip():
        raise FilterError("capture filters do not apply to netlink streams", expression)
    refuse_names(expression)


@cache
def _library() -> ctypes.CDLL:
    for name in _SONAMES:
        try:
            lib = ctypes.CDLL(name)
        except OSError:
            continue
        _declare(lib)
        return lib
    raise BrokerError("libpcap is not installed", "capture filters need it: apt install libpcap0.8 (libpcap0.8t64)")


def _declare(lib: ctypes.CDLL) -> None:
    handle, text, number, unsigned = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32
    program, numbers = ctypes.POINTER(_BpfProgram), ctypes.POINTER(ctypes.c_uint32)
    lib.pcap_open_dead.restype, lib.pcap_open_dead.argtypes = handle, (number, number)
    lib.pcap_create.restype, lib.pcap_create.argtypes = handle, (text, text)
    lib.pcap_geterr.restype, lib.pcap_geterr.argtypes = text, (handle,)
    lib.pcap_statustostr.restype, lib.pcap_statustostr.argtypes = text, (number,)
    lib.pcap_close.restype, lib.pcap_close.argtypes = None, (handle,)
    lib.pcap_freecode.restype, lib.pcap_freecode.argtypes = None, (program,)
    lib.pcap_compile.argtypes = (handle, program, text, number, unsigned)
    lib.pcap_lookupnet.argtypes = (text, numbers, numbers, text)
    lib.pcap_activate.argtypes = (handle,)
    lib.bpf_filter.restype, lib.bpf_filter.argtypes = unsigned, (text, handle, unsigned, unsigned)
    for setter in (lib.pcap_set_snaplen, lib.pcap_set_buffer_size):
        setter.argtypes = (handle, number)


class _DeviceDown(Exception):
    """PCAP_ERROR_IFACE_NOT_UP."""


@contextmanager
def _dead_handle(linktype: int, snaplen: int) -> Iterator[int]:
    handle = _library().pcap_open_dead(_DLT.get(linktype, linktype), snaplen)
    if not handle:
        raise BrokerError(f"libpcap cannot compile for link type {linktype}")
    try:
        yield handle
    finally:
        _library().pcap_close(handle)


@contextmanager
def _live_handle(device: str, snaplen: int) -> Iterator[int]:
    lib, error = _library(), ctypes.create_string_buffer(_ERRBUF_SIZE)
    handle = lib.pcap_create(os.fsencode(device), error)
    if not handle:
        raise BrokerError(f"capture on {device}: {_text(error.value)}")
    try:
        lib.pcap_set_snaplen(handle, snaplen)
        lib.pcap_set_buffer_size(handle, _SMALL_BUFFER)
        _raise_activation(lib, handle, device, lib.pcap_activate(handle))
        yield handle
    finally:
        lib.pcap_close(handle)


def _raise_activation(lib: ctypes.CDLL, handle: int, device: str, status: int) -> None:
    if status >= 0:  # > 0 is a warning
        return
    if status == _ERROR_IFACE_NOT_UP:
        raise _DeviceDown
    if status == _ERROR_NO_SUCH_DEVICE:
        raise BrokerError(f"no device {device}")
    if status == _ERROR_PERM_DENIED:
        raise NotPermitted(f"capture on {device} needs CAP_NET_RAW", "run nettop with sudo")
    message = _text(lib.pcap_geterr(handle)) or _text(lib.pcap_statustostr(status))
    raise BrokerError(f"capture on {device}: {message}")


def _netmask(device: str) -> int:
    """Return the device's IPv4 netmask, for `ip broadcast`; _NETMASK_UNKNOWN if it has no address."""
    net, mask = ctypes.c_uint32(), ctypes.c_uint32()
    error = ctypes.create_string_buffer(_ERRBUF_SIZE)
    failed = _library().pcap_lookupnet(os.fsencode(device), ctypes.byref(net), ctypes.byref(mask), error)
    return _NETMASK_UNKNOWN if failed else mask.value


def _compile(handle: int, expression: str, netmask: int) -> bytes:
    compiled = _try(handle, expression, netmask)
    if isinstance(compiled, bytes):
        return compiled
    position = _error_position(expression, lambda text: isinstance(_try(handle, text, netmask), bytes))
    raise FilterError(compiled, expression, position)


def _try(handle: int, expression: str, netmask: int) -> bytes | str:
    """Return the program, or libpcap's error text."""
    lib, program = _library(), _BpfProgram()
    if lib.pcap_compile(handle, ctypes.byref(program), expression.encode(), 1, netmask):
        return _text(lib.pcap_geterr(handle))
    try:
        return ctypes.string_at(program.bf_insns or 0, program.bf_len * INSTRUCTION_SIZE)
    finally:
        lib.pcap_freecode(ctypes.byref(program))


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")


# Texts that may complete an expression cut here: operands, the rest of an index or a comparison. A word is tried only
# where libpcap does not read it as a name, which it would look up.
_ENDINGS = (
    "", "1", "32", "128", "1.2.3.4", "::1", "1:2:3:4:5:6", "1-2", r"\tcp", "tcp", "port 1", "host 1.2.3.4", "[0]",
    "len", "mgt", "beacon", "match", "pass", "eth0", ":1", "proto 1", "mask 255.0.0.0",
)  # fmt: skip
_COMPARISONS = ("", " = 1")


def _error_position(expression: str, compiles: Callable[[str], bool]) -> int:
    """Return the offset of the first token after which nothing completes the filter; the end if text is missing."""
    found = tokens(expression)

    def has_error(count: int) -> bool:
        head = expression[: found[count - 1].end] if count else ""
        closing = _closing(found[:count])
        endings = [end for end in _ENDINGS if all(name.start < len(head) for name in looked_up(f"{head} {end}"))]
        return not any(compiles(f"{head} {ending}{closing}{rest}") for ending in endings for rest in _COMPARISONS)

    count = bisect_left(range(len(found) + 1), True, key=has_error)
    return found[count - 1].start if 0 < count <= len(found) else len(expression.rstrip())


def _closing(found: list[PcapToken]) -> str:
    """Return the brackets that close what `found` leaves open, innermost first."""
    opened: list[str] = []
    for token in found:
        if token.text in "([":
            opened.append({"(": ")", "[": "]"}[token.text])
        elif token.text in ")]" and opened:
            opened.pop()
    return "".join(reversed(opened))
