"""CSV and JSON files that are written: their size, their encoding, what they have no place for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.config import Column, Dataset
from penstock.errors import ConfigurationError, SchemaError
from penstock.storage.formats import files, tables
from penstock.storage.formats.table import StagedFile, VersionMovedError


def dataset(place: Path, kind: str = "csv", columns: tuple[tuple[str, str], ...] = (("text", "string"),), **options):
    return Dataset(
        name="its.out",
        format=kind,  # type: ignore[arg-type]
        location=str(place),
        columns=tuple(Column(name=name, type=type_) for name, type_ in columns),
        options=options,  # type: ignore[arg-type]
        target_file_mb=1,
    )


def published(out: Dataset, table: pa.Table, epoch: int = 1) -> list[Path]:
    folder = Path(out.location, "data", f"job-{epoch}")
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "part.parquet")
    staged = StagedFile(f"data/job-{epoch}/part.parquet", None, table.num_rows, 1, "{}")
    found = tables.create(out)
    found.commit([staged], list(found.files), app_id="job", epoch=epoch, user_metadata="{}")
    now = tables.open_table(out)
    assert now is not None
    assert now.epoch("job") == epoch
    return [Path(out.location, file.path) for file in now.files]


def test_an_encoding_and_a_delimiter(tmp_path: Path) -> None:
    out = dataset(tmp_path, encoding="ISO-8859-1", delimiter=";")
    (path,) = published(out, pa.table({"text": ["blåbær;", None, ""]}))
    assert path.read_bytes() == b'"text"\n"bl\xe5b\xe6r;"\n\n""\n'
    with pytest.raises(SchemaError, match=r"a character that ISO-8859-1 has not \(U\+20AC\)"):
        published(out, pa.table({"text": ["5 €"]}), 2)


def test_rows_longer_than_a_piece_are_parted_and_no_file_is_too_large(tmp_path: Path) -> None:
    out = dataset(tmp_path, "json")
    rows = [f"{n}{'x' * 300}" for n in range(9_000)]
    found = published(out, pa.table({"text": rows}))
    assert len(found) == 3
    assert max(path.stat().st_size for path in found) <= 1024 * 1024
    assert "".join(path.read_text() for path in found).count("\n") == 9_000
    # A second commit of the same takes the files of the first away.
    again = published(out, pa.table({"text": ["one"]}), 2)
    assert not any(path.exists() for path in found)
    assert [path.read_text() for path in again] == ['{"text": "one"}\n']


def test_a_stale_commit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    out = dataset(tmp_path)
    published(out, pa.table({"text": ["a"]}))
    stale = tables.open_table(out)
    published(out, pa.table({"text": ["b"]}), 2)
    staged = StagedFile("data/job-2/part.parquet", None, 1, 1, "{}")
    before = sorted(tmp_path.rglob("*.csv"))
    assert stale is not None
    with pytest.raises(VersionMovedError):
        stale.commit([staged], [], app_id="job", epoch=3, user_metadata="{}")
    now = tables.open_table(out)
    assert now is not None
    assert [Path(out.location, file.path) for file in now.files] == before
    assert before[0].read_text() == '"text"\n"b"\n'


def test_what_has_no_place(tmp_path: Path) -> None:
    for columns, options, told in (
        ((("tags", "array<string>"),), {}, "CSV has no place for tags"),
        ((("text", "string"),), {"null_value": "NA"}, "nothing for null"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            files.check(dataset(tmp_path, columns=columns, **options))
    with pytest.raises(SchemaError, match="NaN or infinite"):
        published(dataset(tmp_path, "json", (("x", "double"),)), pa.table({"x": [float("nan")]}))
