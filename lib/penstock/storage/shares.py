"""Cuts raw text files into shares that tasks read by path, and reads a share as blocks of whole lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import IO, TYPE_CHECKING, Any

from penstock.errors import MalformedInputError
from penstock.exchange import frame_of
from penstock.interval import Interval
from penstock.lazy import F
from penstock.storage import compressed
from penstock.storage.stage import slice_text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from penstock.storage.listing import SourceFile

SHARE_BYTES = 64 * 1024 * 1024
BLOCK_BYTES = 8 * 1024 * 1024
# A longer line is no line: the file is of something else, and would be held in memory whole.
LONGEST_LINE = 256 * 1024 * 1024
_LOOK_BYTES = 64 * 1024
SHARE_SCHEMA = (
    "number int, file int, path string, start bigint, end bigint, size bigint, modified double, slice string, "
    "encoding string"
)


@dataclass(frozen=True, slots=True)
class Share:
    """The lines of one file that begin in `[start, end)`, counted in bytes of its decompressed content.

    Attributes:
        number: Of the share among those of a run.
        file: Index of the file.
        path: Of the file.
        start: Where it begins.
        end: Where it ends; -1 is the end of the file, which is so for files that cannot be cut.
        size: Of the whole file in bytes, as it is stored.
        modified: When the file was last changed, in seconds since 1970.
        slice: The slice that the file belongs to, as text.
        encoding: Of the text; `table_shares.PARQUET` where it is a share of a table.
    """

    number: int
    file: int
    path: str
    start: int
    end: int
    size: int
    modified: float
    slice: str | None
    encoding: str


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of a file, with their line ends; `offset` is the place of their first byte, `lines` their number."""

    data: bytes
    offset: int
    lines: int


def cut(
    files: Sequence[SourceFile],
    owner: Mapping[SourceFile, Interval],
    encoding: str,
    share_bytes: int = SHARE_BYTES,
) -> list[Share]:
    """The shares of files, in order; a compressed file is one."""
    shares: list[Share] = []
    for index, file in enumerate(files):
        whole = compressed.is_compressed(file.path) or file.size <= share_bytes
        starts = [0] if whole else list(range(0, file.size, share_bytes))
        for start in starts:
            end = -1 if start == starts[-1] else start + share_bytes
            about = (file.size, float(file.modified) / 1e9, slice_text(owner[file].slice_value), encoding)
            shares.append(Share(len(shares), index, file.path, start, end, *about))
    return shares


def frame(spark: SparkSession, shares: Sequence[Share], share_bytes: int = 0) -> DataFrame:
    """One row of SHARE_SCHEMA for each share, dealt to tasks of like size, about one for each `share_bytes`."""
    fields = [field.split()[0] for field in SHARE_SCHEMA.split(", ")]
    total = sum(share.size for share in shares if share.start == 0)
    tasks = max(1, min(len(shares), max(2, total // (share_bytes or SHARE_BYTES) + 1)))
    rows = [(*(getattr(share, field) for field in fields), task) for share, task in _dealt(shares, tasks)]
    table = frame_of(spark, rows, f"{SHARE_SCHEMA}, task int")
    # A task is a partition of one number. Spark's own spreading may give two rows to one task, and none to another.
    numbers = spark.range(0, tasks, 1, tasks)
    return numbers.join(F.broadcast(table), F.col("id") == F.col("task")).select(*fields)


def _dealt(shares: Sequence[Share], tasks: int) -> list[tuple[Share, int]]:
    """Each share with its task: the largest first, each to the task that has least."""
    loads = [(0, task) for task in range(tasks)]
    dealt = []
    for share in sorted(shares, key=lambda share: (-_bytes(share), share.number)):
        load, task = heappop(loads)
        dealt.append((share, task))
        heappush(loads, (load + _bytes(share), task))
    return dealt


def _bytes(share: Share) -> int:
    return (share.size if share.end < 0 else share.end) - share.start


def of_rows(rows: Sequence[Mapping[str, Any]]) -> list[Share]:
    """Shares from rows of SHARE_SCHEMA."""
    return [Share(**row) for row in rows]


class Reader:
    """Reads one share, and counts the lines that it has given of it.

    A line ends with LF (a CR before it stays in the data); the last of a file may lack it, and is given one.

    Attributes:
        share: What is read.
        lines: Lines of the share that were given so far.
    """

    def __init__(self, share: Share) -> None:
        self.share = share
        self.lines = 0

    def head(self, size: int) -> bytes:
        """The first bytes of the share's file."""
        return compressed.first_bytes(self.share.path, size)

    def blocks(self, *, whole: bool = False, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
        """The lines that begin in the share, and no others, in blocks of about `block_bytes`.

        Args:
            whole: The file cannot be read in parts (a line means nothing without those before it): its first share
                is all of it, and the others are nothing.
            block_bytes: Of a block.

        Raises:
            MalformedInputError: The file is damaged, or a line is longer than LONGEST_LINE.
        """
        share = self.share
        if whole and share.start:
            return
        with compressed.telling(share.path), _opened(share.path, share.start) as (stream, at):
            for block in _blocks(stream, share.path, at, -1 if whole else share.end, block_bytes):
                self.lines += block.lines
                yield block

    def after(self, block_bytes: int = 64 * 1024) -> Iterator[Block]:
        """The lines behind the share's end: where records have several lines, its last one may go on there."""
        share = self.share
        if share.end < 0:
            return
        with compressed.telling(share.path), _opened(share.path, share.end) as (stream, at):
            yield from _blocks(stream, share.path, at, -1, block_bytes)


@contextmanager
def _opened(path: str, start: int) -> Iterator[tuple[IO[bytes], int]]:
    """A file at its first line that begins at or behind `start`, and where that is."""
    with compressed.open_seekable(path) if start else compressed.open_bytes(path) as stream:
        at = 0
        if start:
            stream.seek(start - 1)
            at = start - 1 + len(_rest_of_line(stream))
            stream.seek(at)
        yield stream, at


def _rest_of_line(stream: IO[bytes]) -> bytes:
    """What is left of a line, with its end; the stream is somewhere behind it then."""
    held = b""
    while (read := stream.read(_LOOK_BYTES)) and b"\n" not in read:
        held += read
    return held + read[: read.find(b"\n") + 1]


def _blocks(stream: IO[bytes], path: str, at: int, end: int, block_bytes: int) -> Iterator[Block]:
    held = b""
    while end < 0 or at < end:
        read = stream.read(block_bytes if end < 0 else min(block_bytes, max(end - at - len(held), 1)))
        if not read:
            if held:
                yield Block(held + b"\n", at, 1)
            return
        if end >= 0 and at + len(held) + len(read) >= end and not read.endswith(b"\n"):
            # The line that is cut by the share's end is the share's.
            read += _rest_of_line(stream)
        last = read.rfind(b"\n") + 1
        if not last:
            held += read
            if len(held) > LONGEST_LINE:
                raise MalformedInputError(
                    f"{path} has a line of more than {LONGEST_LINE // 1024**2} MB: this is no file of lines.",
                    hint="Deliver it as text with line ends, or leave it out.",
                )
            continue
        whole, held = held + read[:last], read[last:]
        yield Block(whole, at, whole.count(b"\n"))
        at += len(whole)
