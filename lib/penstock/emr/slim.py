"""Takes away from installed dependencies what nothing on a cluster calls: every start waits for the rest."""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

# Tests, headers, stubs, Arrow's RPC, its ways to other clouds and encryption by columns.
_USELESS = (
    *("pandas/tests", "numpy/**/tests", "numpy/_core/*_tests.*", "numpy/_core/_simd.*", "pyarrow/_pyarrow_cpp_tests*"),
    *(
        "numpy/_core/include",
        "numpy/_core/lib",
        "numpy/random/lib",
        "numpy/f2py",
        "numpy/distutils",
        "**/*.pyi",
        "**/*.pxd",
        "**/*.pyx",
    ),
    *("pyarrow/tests", "pyarrow/include", "pyarrow/src", "**/*.pxi", "wrapt/*.c", "*.dist-info/sboms"),
    *("pyarrow/*flight*", "pyarrow/*parquet_encryption*", "pyarrow/_gcsfs*", "pyarrow/_azurefs*"),
    *("botocore/data/*/*/examples-1.json", "boto3/examples"),
)
# What says where and by whom it was installed, which is different on every machine.
_LOCAL = {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"}
# The services that Penstock calls, and those that jobs on data do. Botocore brings 440 models, 14 MB of them packed.
_SERVICES = (
    *("athena", "cloudwatch", "dynamodb", "dynamodbstreams", "emr", "emr-containers", "emr-serverless", "events"),
    *("firehose", "glue", "kinesis", "kms", "lakeformation", "lambda", "logs", "rds-data", "redshift-data", "s3"),
    *("s3tables", "secretsmanager", "signin", "sns", "sqs", "ssm", "sso", "sso-oidc", "stepfunctions", "sts"),
)
# Rich colours the code of a traceback, which is Python.
_LEXERS = ("__init__.py", "_mapping.py", "python.py", "_builtins.py", "special.py", "javascript.py", "data.py")
_SYMBOLS, _ALLOCATED, _SECTION = 2, 2, 64


def slim(folder: Path, *, all_of_aws: bool = False) -> None:
    """Take it away, in place.

    Args:
        folder: A plain folder of unpacked wheels.
        all_of_aws: Keep what boto3 knows of services that jobs on data do not call.
    """
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    for pattern in _USELESS:
        for path in list(folder.glob(pattern)):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    for path in (folder / "botocore" / "data").glob("*"):
        if not all_of_aws and path.is_dir() and path.name not in _SERVICES:
            shutil.rmtree(path)
    for path in (folder / "pygments" / "lexers").glob("*.py"):
        if path.name not in _LEXERS:
            path.unlink()
    for path in folder.rglob("*.so*"):
        _drop_copy(path)
    for path in folder.rglob("*.so*"):
        _blank_symbols(path)
    for info in folder.glob("*.dist-info"):
        for name in _LOCAL:
            (info / name).unlink(missing_ok=True)
        record = info / "RECORD"
        if record.is_file():
            lines = record.read_text(encoding="utf-8").splitlines()
            _rewrite(record, "".join(f"{line}\n" for line in _recorded(folder, lines)).encode())


def contents(folder: Path) -> dict[str, int]:
    """The bytes of each package, unpacked, by the name of its distribution."""
    found = {}
    for info in sorted(folder.glob("*.dist-info")):
        record = info / "RECORD"
        names = [line.rsplit(",", 2)[0] for line in record.read_text(encoding="utf-8").splitlines()]
        sizes = (path.stat().st_size for name in names if (path := folder / name.strip('"')).is_file())
        found[info.name.partition("-")[0].replace("_", "-")] = sum(sizes)
    return found


def _drop_copy(path: Path) -> None:
    """Wheels cannot hold links: a library of several names is in them as often. Loaders ask for `libx.so.MAJOR`."""
    asked = re.fullmatch(r"(.+\.so)\.\d+", path.name)
    if not asked:
        return
    data = path.read_bytes()
    for other in (path.with_name(asked[1]), *path.parent.glob(f"{path.name}.*")):
        if other.is_file() and other.read_bytes() == data:
            other.unlink()


def _blank_symbols(path: Path) -> None:
    """Write zeros over names that only debuggers read: they are a tenth of Arrow, and zeros weigh nothing packed."""
    data = bytearray(path.read_bytes())
    # 64 bits, little-endian: all that EMR's machines are.
    if data[:6] != b"\x7fELF\x02\x01":
        return
    (table,), (size, count) = struct.unpack_from("<Q", data, 40), struct.unpack_from("<HH", data, 58)
    if size != _SECTION or table + count * size > len(data):
        return
    sections = [struct.unpack_from("<IIQQQQII", data, table + number * size) for number in range(count)]
    for kind, flags, offset, length, link in (section[1:3] + section[4:7] for section in sections):
        if kind != _SYMBOLS or flags & _ALLOCATED or link >= count:
            continue
        names = sections[link]
        for begin, long, used in ((offset, length, flags), (names[4], names[5], names[2])):
            if not used & _ALLOCATED:
                data[begin : begin + long] = bytes(long)
        _rewrite(path, bytes(data))


def _rewrite(path: Path, data: bytes) -> None:
    """As a new file: an installer may have made this one a link into its cache."""
    path.unlink()
    path.write_bytes(data)


def _recorded(folder: Path, lines: list[str]) -> Iterator[str]:
    """The lines of RECORD for what is left, with hashes of what it is now."""
    for line in sorted(lines):
        name, _, _ = line.rsplit(",", 2)
        path = folder / name.strip('"')
        if name.startswith("../") or "__pycache__" in name or not path.is_file():
            continue
        if name.endswith(".dist-info/RECORD"):
            yield f"{name},,"
            continue
        data = path.read_bytes()
        hashed = urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        yield f"{name},sha256={hashed},{len(data)}"
