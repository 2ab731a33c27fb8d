"""Reads from a compiled part what machine it is for, which glibc it wants and which libraries it loads."""

from __future__ import annotations

import re
import struct

from penstock.emr.facts import ELF_MACHINES

_GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)")
_LOAD, _DYNAMIC = 1, 2
_END, _NEEDED, _STRINGS = 0, 1, 5
# Of glibc, the compiler and the few others that every Amazon Linux 2023 has.
_EVERYWHERE = re.compile(
    r"(linux-vdso|ld-linux.*|lib(c|m|dl|rt|util|pthread|nsl|resolv|crypt|gcc_s|stdc\+\+|z|expat|atomic))\.so(\.\d+)*"
)


def is_elf(data: bytes) -> bool:
    """Whether it is of Linux."""
    return data.startswith(b"\x7fELF")


def machine(data: bytes) -> str:
    """The machine, as `x86_64`."""
    return ELF_MACHINES.get(int.from_bytes(data[18:20], "little"), "unknown")


def glibc(data: bytes) -> tuple[int, int]:
    """The greatest version of glibc that is named; (0, 0) where none is."""
    return max(((int(major), int(minor)) for major, minor in _GLIBC.findall(data)), default=(0, 0))


def needed(data: bytes) -> tuple[str, ...]:
    """The names of the libraries that the loader will look for; none where it is not a whole file of 64 bits."""
    try:
        (headers,), (size, count) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<HH", data, 54)
        segments = [struct.unpack_from("<IIQQQQ", data, headers + number * size) for number in range(count)]
        loads = [(begin, at, length) for kind, _, at, begin, _, length in segments if kind == _LOAD]
        offset, length = next((at, length) for kind, _, at, _, _, length in segments if kind == _DYNAMIC)
        entries = list(struct.iter_unpack("<QQ", data[offset : offset + length // 16 * 16]))
        address = next(value for tag, value in entries if tag == _STRINGS)
        strings = next(at + address - begin for begin, at, long in loads if begin <= address < begin + long)
    except (struct.error, StopIteration):
        return ()
    used = entries[: next((number for number, (tag, _) in enumerate(entries) if tag == _END), len(entries))]
    begins = [strings + value for tag, value in used if tag == _NEEDED]
    return tuple(data[begin : data.index(b"\0", begin)].decode("ascii", "replace") for begin in begins)


def is_everywhere(library: str) -> bool:
    """Whether every machine of EMR has it.

    >>> is_everywhere("libstdc++.so.6"), is_everywhere("libarrow_substrait.so.2600")
    (True, False)
    """
    return _EVERYWHERE.fullmatch(library) is not None
