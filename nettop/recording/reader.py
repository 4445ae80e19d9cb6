"""Reads a capture or recording: recognises its format and returns its items in file order, a chunk at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace

from nettop.batch import Counter64, End, Item
from nettop.errors import InputError
from nettop.recording import compressed
from nettop.recording.chunks import CHUNK, Chunk, Chunks, Decompressed, Pipe, RegularFile, open_input
from nettop.recording.pcap import PcapDecoder, byte_order
from nettop.recording.pcapng import PcapngDecoder
from nettop.recording.records import FormatDecoder, Numbering

_SHB_MAGIC = b"\n\r\r\n"


class CaptureReader:
    """The items of one file, to be read until `ended`.

    A regular file is recognised at once, a pipe when its first bytes have arrived. Raises InputError if it is no
    capture; damage further on is the last item, an End with `error` and `offset`.
    """

    def __init__(self, fd: int, name: str, numbering: Numbering, chunk: int = CHUNK) -> None:
        self.name = name
        self.regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self.ended = False
        self._fd = fd
        self._numbering = numbering
        self._chunks: Chunks = RegularFile(fd, chunk) if self.regular else Pipe(fd)
        self._first: Chunk | None = None  # the one by which the file was recognised
        self._decoder: FormatDecoder | None = None
        while self.regular and self._decoder is None and self._recognise():
            pass

    def read(self) -> list[Item]:
        """Return the next items; [] while a pipe has no complete one."""
        if self.ended or (self._decoder is None and not (self._recognise() and self._decoder is not None)):
            return []
        chunk, self._first = self._first or self._chunks.read(self._decoder.need), None
        if chunk is None:
            return []
        items, used = self._decoder.decode(*chunk)
        self._chunks.advance(used)
        if self._decoder.ended:
            self.ended = True
            items = self._with_cause(items)
        return items

    def __iter__(self) -> Iterator[Item]:
        """Yield every item up to the End; wait for a pipe's data."""
        while not self.ended:
            yield from self.read()

    @property
    def is_pcap(self) -> bool:
        """True once the file is recognised as pcap."""
        return isinstance(self._decoder, PcapDecoder)

    def fileno(self) -> int:
        """Return the descriptor, to wait on if it is a pipe."""
        return self._fd

    @property
    def ready(self) -> bool:
        """Return True if read() does not wait for the descriptor: a regular file, or data that is here already."""
        return self.regular or self._chunks.ready

    def close(self) -> None:
        """Close the file. Batches stay valid."""
        self._chunks.close()

    def _recognise(self) -> bool:
        """Choose the decompressor or decoder by the first bytes; return False while they are missing."""
        self._first = self._chunks.read(compressed.MAGIC_BYTES)
        if self._first is None:
            return False
        head = self._first[0][:16]
        compression = compressed.compression(head)
        if compression and not isinstance(self._chunks, Decompressed):
            self._chunks = Decompressed(self._chunks, compression, self._first)
            self._numbering = replace(self._numbering, seekable=False)
        elif head[:4] == _SHB_MAGIC:
            self._decoder = PcapngDecoder(self._numbering)
        elif len(head) >= 4 and byte_order(head):
            self._decoder = PcapDecoder(self._numbering)
        else:
            raise self._refusal(head)
        return True

    def _refusal(self, head: bytes) -> InputError:
        remedy = "name a pcap or pcapng file, as tcpdump, Wireshark and nettop write them"
        if isinstance(self._chunks, Decompressed):
            reason = self._chunks.error
            return InputError(f"{self.name!r} holds no capture" + (f" ({reason})" if reason else ""), remedy)
        if not head:
            return InputError(f"{self.name!r} is empty", remedy)
        return InputError(f"{self.name!r} is not a capture file", remedy)

    def _with_cause(self, items: list[Item]) -> list[Item]:
        """Report damaged compression, with its offset, in the End of the capture that ends early because of it."""
        end, chunks = items[-1], self._chunks
        if isinstance(chunks, Decompressed) and chunks.error and isinstance(end, End):
            items[-1] = replace(end, error=chunks.error, offset=chunks.offset)
        return items


def open_reader(
    path: str, numbering: Numbering | None = None, *, fd: int | None = None, chunk: int = CHUNK
) -> CaptureReader:
    """Return a reader of `path` ("-": standard input). Without a numbering, items and streams count from 0.

    `fd`: the file was opened before (with rights that are gone by now); it is closed with the reader.
    """
    numbering = numbering or Numbering(Counter64().next, Counter64().next, path)
    fd = open_input(path) if fd is None else fd
    try:
        return CaptureReader(fd, path, replace(numbering, seekable=stat.S_ISREG(os.fstat(fd).st_mode)), chunk)
    except BaseException:
        os.close(fd)
        raise
