"""Opens files that may be compressed, by their suffix, for what is read outside of Spark; says what ails them."""

from __future__ import annotations

import bz2
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

import pyarrow as pa

from penstock.errors import InputMissingError, MalformedInputError, PermissionDeniedError
from penstock.storage import objects

_CHUNK = 1024 * 1024
_SUFFIXES = (".gz", ".bz2", ".zst")
# How files begin that are no text, and the suffix by which those that can be read are known.
_MAGIC = (
    (re.compile(rb"\x1f\x8b"), "gzip data", ".gz"),
    (re.compile(rb"BZh[1-9]1AY&SY"), "bzip2 data", ".bz2"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstandard data", ".zst"),
    (re.compile(rb"PK\x03\x04"), "a zip archive", ""),
    (re.compile(rb"\xfd7zXZ\x00"), "xz data", ""),
    (re.compile(rb"PAR1[^ -~]"), "Parquet", ""),
)


def is_compressed(path: str) -> bool:
    """Whether a file's suffix says that it is compressed."""
    return path.endswith(_SUFFIXES)


def open_bytes(path: str) -> IO[bytes]:
    """A file's content, decompressed where the suffix says so (.gz, .bz2, .zst)."""
    if objects.is_s3(path):
        return cast(IO[bytes], _open_s3(path))
    if path.endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.endswith(".bz2"):
        return cast(IO[bytes], bz2.open(path, "rb"))
    if path.endswith(".zst"):
        return cast(IO[bytes], pa.input_stream(path, compression="zstd"))
    return open(path, "rb")


def open_seekable(path: str) -> IO[bytes]:
    """The bytes of a file that is not compressed, in which one may go about."""
    if objects.is_s3(path):
        system, inside = objects.filesystem(path)
        return cast(IO[bytes], system.open_input_file(inside))
    return open(path, "rb")


def _open_s3(path: str) -> pa.NativeFile:
    system, inside = objects.filesystem(path)
    kinds = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
    kind = next((kind for suffix, kind in kinds.items() if path.endswith(suffix)), None)
    return system.open_input_stream(inside, compression=kind)


@contextmanager
def telling(path: str) -> Iterator[None]:
    """Name the file, and what is wrong with it, in the errors of reading it.

    Raises:
        InputMissingError: The file is gone.
        MalformedInputError: The compressed file is truncated or not of the format that its suffix says.
        PermissionDeniedError: The file cannot be read.
    """
    try:
        yield
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{path} cannot be read: {error.strerror}.", hint="Give this user the right to read it."
        ) from error
    except FileNotFoundError as error:
        raise InputMissingError(f"{path} was there when the run began and is gone.") from error
    except (EOFError, zlib.error, OSError) as error:
        what = "decompressed" if is_compressed(path) else "read"
        raise MalformedInputError(
            f"{path} cannot be {what}: {error}.", hint="Deliver the file again, whole."
        ) from error


def first_bytes(path: str, size: int) -> bytes:
    """The first bytes of a file's content.

    Raises:
        MalformedInputError: The compressed file is truncated or not of the format that its suffix says.
        PermissionDeniedError: The file cannot be read.
    """
    with telling(path), open_bytes(path) as stream:
        return stream.read(size)


def check_whole(path: str) -> None:
    """Decompress a file to its end.

    Raises:
        MalformedInputError: It is truncated or damaged.
        PermissionDeniedError: It cannot be read.
    """
    with telling(path), open_bytes(path) as stream:
        while stream.read(_CHUNK):
            pass


def check_text(start: bytes, path: str, encoding: str) -> None:
    """Refuse a file that is no text, or is of an encoding other than the declared one, as far as its first bytes tell.

    Raises:
        MalformedInputError: It is.
    """
    for magic, what, suffix in _MAGIC:
        if magic.match(start):
            hint = f"Name it …{suffix}, or deliver it as text." if suffix else "Deliver it as text."
            raise MalformedInputError(f"{path} is {what}, not text.", hint=hint)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) and "16" not in encoding and "32" not in encoding:
        raise MalformedInputError(
            f"{path} is UTF-16 text; the dataset declares {encoding}.",
            hint="Declare its encoding (options: {encoding: UTF-16}), or deliver it as UTF-8.",
        )
