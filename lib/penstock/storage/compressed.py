"""Opens files that may be compressed, by their suffix, for the little that is read outside of Spark."""

from __future__ import annotations

import bz2
import gzip
import zlib
from typing import IO, cast

from penstock.errors import MalformedInputError, PermissionDeniedError


def open_bytes(path: str) -> IO[bytes]:
    """A file's content, decompressed where the suffix says so (.gz, .bz2)."""
    if path.endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.endswith(".bz2"):
        return cast(IO[bytes], bz2.open(path, "rb"))
    return open(path, "rb")


def first_bytes(path: str, size: int) -> bytes:
    """The first bytes of a file's content.

    Raises:
        MalformedInputError: The compressed file is truncated or not of the format that its suffix says.
        PermissionDeniedError: The file cannot be read.
    """
    try:
        with open_bytes(path) as stream:
            return stream.read1(size) if hasattr(stream, "read1") else stream.read(size)
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{path} cannot be read: {error.strerror}.", hint="Give this user the right to read it."
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        raise MalformedInputError(
            f"{path} cannot be decompressed: {error}.", hint="Deliver the file again, whole."
        ) from error
