"""What an input is seen to hold: files by interval in every layout, fingerprints, and the slices of tables."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from penstock.config import Column, Dataset, Slice
from penstock.errors import ConfigurationError, PermissionDeniedError, UsageError
from penstock.interval import Interval, Unit
from penstock.storage.snapshot import RawSnapshot, Snapshot, TableSnapshot, slice_texts, take

DAY = Interval.parse("2010-12-01")
LONDON = "Europe/London"


def raw(location: Path | str) -> Dataset:
    return Dataset(name="shop.raw", format="csv", location=str(location), columns=(Column(name="id", type="bigint"),))


def give(folder: Path, *names: str, text: str = "id\n1\n") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


def seen(location: Path | str, unit: Unit = "day", tz: str = "UTC", *asked: Interval) -> RawSnapshot:
    found = take(raw(location), unit, tz, asked)
    assert isinstance(found, RawSnapshot)
    return found


def labels(snapshot: Snapshot) -> list[str]:
    return [interval.label for interval in snapshot.intervals()]


def fingerprint(snapshot: Snapshot, interval: Interval = DAY, span: str = "interval") -> str:
    portion = snapshot.portion(interval, span)  # type: ignore[arg-type]
    assert portion is not None
    return portion.fingerprint


# layouts


@pytest.mark.parametrize(
    "name",
    [
        "2010-12-01.csv",
        "2010-12-01.csv.gz",
        "2010-12-01.csv.bz2",
        "20101201.csv",
        "sales_2010-12-01_final.csv",
        "2010/12/01/part-0.csv",
        "2010/12/01.csv.gz",
        "dt=2010-12-01/part-00000.csv",
        "dt=2010-12-01/part-00000-20240105.csv.zst",
        "year=2010/month=12/day=01/x.csv",
        "country=DE/dt=2010-12-01/x.csv",
        "2010/12/01/05/x.csv",
        "2010-12-01T05.csv",
        "deep/er/2010/12/01/x.csv",
        "a folder with blanks/2010-12-01 [1].csv",
    ],
)
def test_a_folder_of_dated_files_is_understood(tmp_path: Path, name: str) -> None:
    give(tmp_path, name)
    found = seen(tmp_path)
    assert labels(found) == ["2010-12-01"]
    assert [file.relative for file in found.files(DAY)] == [name]
    assert found.undated == []


def test_several_files_of_one_interval_in_several_layouts(tmp_path: Path) -> None:
    give(tmp_path, "2010-12-01.csv", "2010-12-01_late.csv.gz", "dt=2010-12-01/a.csv", "2010/12/02/a.csv")
    found = seen(tmp_path)
    assert labels(found) == ["2010-12-01", "2010-12-02"]
    portion = found.portion(DAY)
    assert portion is not None
    assert portion.files == 3
    assert portion.bytes == sum(file.size for file in found.files(DAY))
    assert portion.rows is None
    assert found.portion(DAY.previous()) is None


def test_the_dates_of_hours_and_months(tmp_path: Path) -> None:
    give(tmp_path, "2010-12-01T05.csv", "2010-12-01T06.csv.gz", "2010/12/02/00/x.csv", "2011-01.csv")
    assert labels(seen(tmp_path, "hour")) == ["2010-12-01T05", "2010-12-01T06", "2010-12-02T00"]
    assert labels(seen(tmp_path, "day")) == ["2010-12-01", "2010-12-02"]
    months = seen(tmp_path, "month")
    assert labels(months) == ["2010-12", "2011-01"]
    assert len(months.files(Interval.parse("2010-12"))) == 3
    assert [file.relative for file in seen(tmp_path, "day").undated] == ["2011-01.csv"]
    everything = seen(tmp_path, "all")
    assert labels(everything) == ["all"]
    assert len(everything.files(Interval.all())) == 4


def test_names_without_a_date_are_told_and_left_out(tmp_path: Path) -> None:
    give(tmp_path, "2010-12-01.csv", "README.md", "2010-02-30.csv", "sub/notes.txt")
    found = seen(tmp_path)
    assert labels(found) == ["2010-12-01"]
    assert [file.relative for file in found.undated] == ["2010-02-30.csv", "README.md", "sub/notes.txt"]
    assert len(found.read_by([DAY], "interval")) == 1
    assert len(found.read_by([DAY], "to_date")) == 1
    assert len(found.read_by([DAY], "all")) == 4


def test_hidden_files_are_no_input(tmp_path: Path) -> None:
    give(tmp_path, "2010-12-01.csv", "_SUCCESS", ".2010-12-01.csv.crc", "_temporary/2010-12-01.csv", ".git/2010-12-01")
    found = seen(tmp_path)
    assert [file.relative for file in found.files(DAY)] == ["2010-12-01.csv"]
    assert found.undated == []


def test_a_folder_that_is_hidden_itself_may_be_named(tmp_path: Path) -> None:
    give(tmp_path, "_in/.here/2010-12-01.csv")
    assert labels(seen(tmp_path / "_in" / ".here")) == ["2010-12-01"]


def test_what_is_not_there_has_nothing(tmp_path: Path) -> None:
    for location in (tmp_path / "none", tmp_path / "*.csv", tmp_path / "%Y-%m-%d.csv", tmp_path):
        found = seen(location, "day", "UTC", DAY, DAY.next())
        assert found.intervals() == []
        assert found.portion(DAY, "all") is None
        assert found.portion(DAY, "to_date") is None


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    give(tmp_path, "elsewhere/a.csv", "in/2010-12-01.csv")
    (tmp_path / "in" / "2010-12-02").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "2010-12-03.csv").symlink_to(tmp_path / "elsewhere" / "a.csv")
    assert labels(seen(tmp_path / "in")) == ["2010-12-01", "2010-12-02", "2010-12-03"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    give(tmp_path, "2010-12-01/a.csv")
    (tmp_path / "2010-12-01").chmod(0)
    try:
        with pytest.raises(PermissionDeniedError, match="2010-12-01 cannot be listed"):
            seen(tmp_path)
    finally:
        (tmp_path / "2010-12-01").chmod(0o755)


# globs, templates, single files


def test_a_glob(tmp_path: Path) -> None:
    give(
        tmp_path, "a/2010-12-01.csv", "b/2010-12-02.csv", "b/2010-12-02.txt", "c/2010-12-03/x.csv", ".h/2010-12-04.csv"
    )
    assert labels(seen(f"{tmp_path}/*/*.csv")) == ["2010-12-01", "2010-12-02"]
    assert labels(seen(f"{tmp_path}/**/*.csv")) == ["2010-12-01", "2010-12-02", "2010-12-03"]
    assert labels(seen(f"{tmp_path}/c/2010-12-0?")) == ["2010-12-03"], "a folder's whole tree is meant"


def test_a_template_tells_what_its_dates_mean(tmp_path: Path) -> None:
    give(tmp_path, "01-12-2010/sales.csv", "02-12-2010/sales.csv.gz", "02-12-2010/other.csv", "x/sales.csv")
    found = seen(f"{tmp_path}/%d-%m-%Y/sales.csv*")
    assert labels(found) == ["2010-12-01", "2010-12-02"]
    assert found.undated == []
    hours = tmp_path / "by hour"
    give(hours, "2010/12/01/h05.csv", "2010/12/01/h06.csv")
    assert labels(seen(f"{hours}/%Y/%m/%d/h%H.csv", "hour")) == ["2010-12-01T05", "2010-12-01T06"]
    assert labels(seen(f"{hours}/%Y/%m/%d/h%H.csv")) == ["2010-12-01"]
    assert labels(seen(f"{hours}/%Y/%m/%d")) == ["2010-12-01"]
    assert [len(seen(f"{hours}/%Y/%m/*/h%H.csv").undated), labels(seen(f"{hours}/%Y/%m/*/h%H.csv"))] == [2, []]
    with pytest.raises(UsageError, match="Legal: %Y, %m, %d, %H"):
        seen(f"{tmp_path}/%j.csv")


def test_a_location_that_exists_is_meant_as_it_stands(tmp_path: Path) -> None:
    give(tmp_path, "100%Y/2010-12-01.csv", "[a]*/2010-12-02.csv", "a/2010-12-03.csv")
    assert labels(seen(tmp_path / "100%Y")) == ["2010-12-01"]
    assert labels(seen(tmp_path / "[a]*")) == ["2010-12-02"]


def test_one_file_belongs_to_the_one_interval_that_is_asked_for(tmp_path: Path) -> None:
    give(tmp_path, "orders.csv", "2010-12-02.csv")
    assert labels(seen(tmp_path / "orders.csv", "day", "UTC", DAY)) == ["2010-12-01"]
    assert labels(seen(tmp_path / "2010-12-02.csv", "day", "UTC", DAY)) == ["2010-12-02"], "unless its name says other"
    with pytest.raises(ConfigurationError, match="none of the 1 files .* has a date in its path"):
        seen(tmp_path / "orders.csv", "day", "UTC", DAY, DAY.next())
    assert labels(seen(tmp_path / "orders.csv", "all", "UTC", Interval.all())) == ["all"]


# time zones


def test_hourly_files_are_on_the_local_clock(tmp_path: Path) -> None:
    give(tmp_path, "2010-07-01T00.csv", "2010-07-01T23.csv")
    in_london = seen(tmp_path, "hour", LONDON).intervals()
    assert [hour.start.isoformat() for hour in in_london] == ["2010-06-30T23:00:00+00:00", "2010-07-01T22:00:00+00:00"]
    assert labels(seen(tmp_path, "day", LONDON)) == ["2010-07-01"]


def test_the_night_on_which_clocks_are_set_back(tmp_path: Path) -> None:
    give(tmp_path, "2010-10-31T00.csv", "2010-10-31T01+01:00.csv", "2010-10-31T01+00:00.csv", "2010-10-31T02.csv")
    assert labels(seen(tmp_path, "hour", LONDON)) == [
        "2010-10-31T00",
        "2010-10-31T01+01:00",
        "2010-10-31T01+00:00",
        "2010-10-31T02",
    ]
    day = Interval.parse("2010-10-31", LONDON)
    assert day.end - day.start == Interval.parse("2010-11-01", LONDON).end - day.end + (
        Interval.parse("2010-10-31T01+00:00", LONDON).end - Interval.parse("2010-10-31T01+00:00", LONDON).start
    )
    assert len(seen(tmp_path, "day", LONDON).files(day)) == 4


def test_an_hour_that_comes_twice_without_an_offset_is_the_first(tmp_path: Path) -> None:
    give(tmp_path, "2010-10-31T01.csv")
    assert labels(seen(tmp_path, "hour", LONDON)) == ["2010-10-31T01+01:00"]


def test_the_night_on_which_clocks_are_set_forward(tmp_path: Path) -> None:
    give(tmp_path, *[f"2010-03-28T{hour:02}.csv" for hour in (0, 2, 23)])
    found = seen(tmp_path, "hour", LONDON)
    assert labels(found) == ["2010-03-28T00", "2010-03-28T02", "2010-03-28T23"]
    assert len(seen(tmp_path, "day", LONDON).files(Interval.parse("2010-03-28", LONDON))) == 3


# fingerprints


def touched(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        (lambda folder: None, False),
        (lambda folder: (folder / "2010-12-01" / "a.csv").read_text(), False),
        (lambda folder: give(folder, "2010-12-02/x.csv"), False),
        (lambda folder: touched(folder / "2010-12-01" / "a.csv"), True),
        (lambda folder: (folder / "2010-12-01" / "a.csv").write_text("id\n2\n3\n"), True),
        (lambda folder: give(folder, "2010-12-01/c.csv"), True),
        (lambda folder: (folder / "2010-12-01" / "b.csv").unlink(), True),
        (lambda folder: (folder / "2010-12-01" / "b.csv").rename(folder / "2010-12-01" / "d.csv"), True),
    ],
    ids=["nothing", "read", "another day", "modified", "longer", "late file", "file gone", "renamed"],
)
def test_what_changes_a_fingerprint(tmp_path: Path, change: Callable[[Path], None], changes: bool) -> None:
    give(tmp_path, "2010-12-01/a.csv", "2010-12-01/b.csv", "2010-11-30/a.csv")
    before = seen(tmp_path)
    change(tmp_path)
    after = seen(tmp_path)
    assert (fingerprint(after) != fingerprint(before)) == changes
    assert fingerprint(after, DAY.previous()) == fingerprint(before, DAY.previous())
    assert (fingerprint(after, DAY, "to_date") != fingerprint(before, DAY, "to_date")) == changes


def test_a_folder_that_moved_whole_is_the_same(tmp_path: Path) -> None:
    give(tmp_path, "in/2010-12-01.csv")
    before = fingerprint(seen(tmp_path / "in"))
    (tmp_path / "in").rename(tmp_path / "moved")
    assert fingerprint(seen(tmp_path / "moved")) == before


def test_to_date_reads_everything_before_and_nothing_after(tmp_path: Path) -> None:
    give(tmp_path, *[f"2010-12-0{day}.csv" for day in (1, 2, 3)])
    found = seen(tmp_path)
    files = [p.files for day in (DAY, DAY.next(), DAY.next().next()) if (p := found.portion(day, "to_date"))]
    assert files == [1, 2, 3]
    assert found.portion(DAY.previous(), "to_date") is None
    before = [fingerprint(found, day, "to_date") for day in found.intervals()]
    touched(tmp_path / "2010-12-02.csv")
    after = [fingerprint(seen(tmp_path), day, "to_date") for day in found.intervals()]
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, False]
    assert sorted(i.label for i in set(found.read_by([DAY.next()], "to_date").values())) == ["2010-12-01", "2010-12-02"]


def test_ten_thousand_files_are_seen_once_each(tmp_path: Path) -> None:
    for day in range(1, 26):
        folder = tmp_path / f"2010-02-{day:02}"
        folder.mkdir()
        for part in range(400):
            (folder / f"{part}.csv").touch()
    found = seen(tmp_path)
    assert len(found.intervals()) == 25
    assert {portion.files for day in found.intervals() if (portion := found.portion(day))} == {400}


# tables


def table(folder: Path, unit: Literal["day", "hour"] | None = "day") -> Dataset:
    kind = "timestamp" if unit == "hour" else "date"
    return Dataset(
        name="shop.orders",
        format="delta",
        location=str(folder / "orders"),
        columns=(Column(name="day", type=kind), Column(name="id", type="bigint")),
        slice=Slice(column="day", unit=unit) if unit else None,
    )


def write(dataset: Dataset, *values: date | datetime | None, rows: int = 1) -> None:
    kind = pa.timestamp("us", "UTC") if dataset.columns[0].type == "timestamp" else pa.date32()
    days = pa.array([value for value in values for _ in range(rows)], kind)
    ids = pa.array(range(len(days)), pa.int64())
    parts = [dataset.slice.column] if dataset.slice else None
    write_deltalake(dataset.location, pa.table({"day": days, "id": ids}), mode="append", partition_by=parts)


def test_a_look_at_a_table_imports_no_pandas(tmp_path: Path) -> None:
    """Half a second of each command that finds nothing to do."""
    write(table(tmp_path), date(2010, 12, 1))
    code = (
        "import sys; from penstock.storage.formats import delta\n"
        f"print(delta.data_files(delta.open_table({str(tmp_path / 'orders')!r})).num_rows, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["1", "False"], "")


def test_a_table_by_slices(tmp_path: Path) -> None:
    orders = table(tmp_path)
    write(orders, date(2010, 12, 1), date(2010, 12, 3), rows=2)
    found = take(orders, "day", "UTC")
    assert isinstance(found, TableSnapshot)
    assert found.version == 0
    assert labels(found) == ["2010-12-01", "2010-12-03"]
    portion = found.portion(DAY)
    assert portion is not None
    assert (portion.files, portion.rows) == (1, 2)
    assert portion.bytes > 0
    assert labels(take(orders, "month", "UTC")) == ["2010-12"]
    whole = take(orders, "all", "UTC").portion(Interval.all())
    assert whole is not None
    assert (whole.files, whole.rows) == (2, 4)


def test_only_the_slices_that_another_writer_touched_have_another_fingerprint(tmp_path: Path) -> None:
    orders = table(tmp_path)
    write(orders, date(2010, 12, 1), date(2010, 12, 2))
    before = take(orders, "day", "UTC")
    write(orders, date(2010, 12, 2))
    after = take(orders, "day", "UTC")
    assert fingerprint(after) == fingerprint(before)
    assert fingerprint(after, DAY.next()) != fingerprint(before, DAY.next())
    assert fingerprint(after, DAY, "all") != fingerprint(before, DAY, "all")
    assert fingerprint(after, DAY, "to_date") == fingerprint(before, DAY, "to_date")


def test_a_change_of_the_table_that_touches_no_file_is_none(tmp_path: Path) -> None:
    orders = table(tmp_path)
    write(orders, date(2010, 12, 1))
    before = take(orders, "day", "UTC")
    DeltaTable(orders.location).alter.set_table_properties({"delta.logRetentionDuration": "interval 9 days"})
    after = take(orders, "day", "UTC")
    assert isinstance(before, TableSnapshot)
    assert isinstance(after, TableSnapshot)
    assert (before.version, after.version) == (0, 1)
    assert fingerprint(after) == fingerprint(before)


def test_a_table_without_slices_is_of_no_interval_but_the_whole(tmp_path: Path) -> None:
    orders = table(tmp_path, unit=None)
    write(orders, date(2010, 12, 1), date(2010, 12, 2))
    assert take(orders, "day", "UTC").intervals() == []
    whole = take(orders, "day", "UTC").portion(DAY, "all")
    assert whole is not None
    assert whole.rows == 2
    assert labels(take(orders, "all", "UTC")) == ["all"]


def test_rows_whose_slice_is_null_belong_to_the_whole_alone(tmp_path: Path) -> None:
    orders = table(tmp_path)
    write(orders, date(2010, 12, 1), None)
    found = take(orders, "day", "UTC")
    assert labels(found) == ["2010-12-01"]
    whole = found.portion(DAY, "all")
    assert whole is not None
    assert whole.rows == 2


def test_a_table_of_hours_on_the_night_on_which_clocks_are_set_back(tmp_path: Path) -> None:
    orders = table(tmp_path, "hour")
    write(orders, *[datetime(2010, 10, 31, hour, tzinfo=UTC) for hour in (0, 1, 2)])
    hours = take(orders, "hour", LONDON)
    assert labels(hours) == ["2010-10-31T01+01:00", "2010-10-31T01+00:00", "2010-10-31T02"]
    day = take(orders, "day", LONDON).portion(Interval.parse("2010-10-31", LONDON))
    assert day is not None
    assert day.rows == 3


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    found = take(table(tmp_path), "day", "UTC", [DAY])
    assert isinstance(found, TableSnapshot)
    assert found.version is None
    assert found.intervals() == []
    assert not (tmp_path / "orders").exists()


def test_the_slice_values_of_intervals_as_tables_write_them() -> None:
    hour = Interval.parse("2010-10-31T01+00:00", LONDON)
    assert slice_texts([DAY, Interval.parse("2010-12"), hour, Interval.all()]) == [
        "2010-12-01",
        "2010-12-01",
        "2010-10-31T01:00:00.000000Z",
        None,
    ]
