"""Intervals on the calendar of a time zone, and in the paths of files."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from penstock.errors import ConfigurationError, UsageError
from penstock.interval import Interval, Unit, between, matcher, of_path, split, to_glob, widen

LONDON = "Europe/London"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "unit", "start", "end", "value"),
    [
        ("2010-12-01", "day", utc(2010, 12, 1), utc(2010, 12, 2), date(2010, 12, 1)),
        ("2010-12-01T05", "hour", utc(2010, 12, 1, 5), utc(2010, 12, 1, 6), utc(2010, 12, 1, 5)),
        ("2010-12", "month", utc(2010, 12, 1), utc(2011, 1, 1), date(2010, 12, 1)),
    ],
)
def test_a_label_and_back(text: str, unit: Unit, start: datetime, end: datetime, value: object) -> None:
    interval = Interval.parse(text)
    assert (interval.unit, interval.start, interval.end) == (unit, start, end)
    assert interval.slice_value == value
    assert interval.label == str(interval) == text


def test_all_is_one_interval_without_a_slice_value() -> None:
    everything = Interval.parse("all", LONDON)
    assert everything is Interval.all()
    assert (everything.label, everything.slice_value) == ("all", None)
    assert everything.contains(Interval.parse("2010-12"))
    with pytest.raises(UsageError, match="none after"):
        everything.next()


@pytest.mark.parametrize(
    "text", ["", "2010", "2010-13", "2010-02-30", "2010-12-01T24", "today", "2010-12-1", "２０１０-12-01"]
)
def test_what_is_no_interval_is_refused_with_the_legal_forms(text: str) -> None:
    with pytest.raises(UsageError, match="2010-12-01T05"):
        Interval.parse(text)


@pytest.mark.parametrize(
    ("text", "tz"),
    [
        ("9999-12-31", "UTC"),
        ("9999-12", "UTC"),
        ("9999-12-31T23", "UTC"),
        ("9999-12-31T23", "America/New_York"),
        ("0001-01-01", "Asia/Tokyo"),
        ("0001-01-01T00", "Asia/Tokyo"),
    ],
)
def test_what_reaches_over_the_edge_of_the_calendar_is_a_usage_error(text: str, tz: str) -> None:
    with pytest.raises(UsageError, match="edge of the calendar"):
        Interval.parse(text, tz)


def test_an_interval_of_another_unit_does_not_fit() -> None:
    assert Interval.parse("2010-12", unit="month").unit == "month"
    with pytest.raises(UsageError, match=r"does not fit: it is a month, and a day is needed. Write it as 2010-12-01"):
        Interval.parse("2010-12", unit="day")


def test_an_unknown_time_zone_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean Europe/London"):
        Interval.parse("2010-12-01", "Europe/Londn")
    with pytest.raises(ConfigurationError, match="no time zone"):
        Interval.parse("2010-12-01", "../../etc/passwd")


@pytest.mark.parametrize(("day", "hours"), [("2010-03-28", 23), ("2010-10-31", 25), ("2010-12-01", 24)])
def test_a_local_day_has_the_hours_that_its_clock_shows(day: str, hours: int) -> None:
    interval = Interval.parse(day, LONDON)
    parts = split(interval, "hour", LONDON)
    assert len(parts) == hours
    assert interval.end - interval.start == timedelta(hours=hours)
    assert len({part.label for part in parts}) == hours
    assert [Interval.parse(part.label, LONDON) for part in parts] == parts
    assert (parts[0].start, parts[-1].end) == (interval.start, interval.end)
    assert all(a.end == b.start and b.previous() == a for a, b in pairwise(parts))


def test_an_hour_that_comes_twice_has_its_offset_in_its_label() -> None:
    summer, winter = Interval.parse("2010-10-31T01+01:00", LONDON), Interval.parse("2010-10-31T01+00:00", LONDON)
    assert (summer.start, winter.start) == (utc(2010, 10, 31, 0), utc(2010, 10, 31, 1))
    assert summer < winter
    assert summer != winter
    assert summer.next() == winter == Interval.parse("2010-10-31T01Z", LONDON)
    with pytest.raises(UsageError, match=r"comes twice .* 2010-10-31T01\+01:00 or 2010-10-31T01\+00:00"):
        Interval.parse("2010-10-31T01", LONDON)


def test_an_hour_that_the_clock_jumps_over_does_not_exist() -> None:
    with pytest.raises(UsageError, match="jumps over"):
        Interval.parse("2010-03-28T01", LONDON)
    assert Interval.parse("2010-03-28T00", LONDON).next().label == "2010-03-28T02"


def test_an_offset_may_be_given_but_not_a_wrong_one() -> None:
    assert Interval.parse("2010-12-01T05+00:00", LONDON).label == "2010-12-01T05"
    with pytest.raises(UsageError, match="offset there is another"):
        Interval.parse("2010-12-01T05+01:00", LONDON)


@pytest.mark.parametrize(
    ("tz", "first", "last"),
    [
        ("America/Sao_Paulo", "2018-11-02", "2018-11-06"),  # midnight does not exist
        ("America/Havana", "2010-10-29", "2010-11-02"),  # midnight comes twice
        ("America/St_Johns", "2010-11-05", "2010-11-09"),  # set back from 00:01 over midnight
        ("Australia/Lord_Howe", "2010-04-02", "2010-04-05"),  # half an hour
        ("America/Toronto", "1919-03-29", "1919-04-01"),  # from 23:30 to 00:30
        ("Asia/Kolkata", "2010-12-01", "2010-12-03"),
    ],
)
def test_days_and_hours_leave_no_gap_and_do_not_overlap(tz: str, first: str, last: str) -> None:
    days = between(Interval.parse(first, tz), Interval.parse(last, tz))
    assert [Interval.parse(day.label, tz) for day in days] == days
    hours = [hour for day in days for hour in split(day, "hour", tz)]
    for parts in (days, hours):
        assert all(a.end == b.start and a.start < a.end for a, b in pairwise(parts))
    assert [Interval.parse(hour.label, tz) for hour in hours] == hours
    for hour in hours:
        assert Interval.of("hour", hour.end - timedelta(microseconds=1), tz) == hour
        assert Interval.of("day", hour.start, tz).contains(hour)


def test_a_day_that_a_country_skipped_does_not_exist() -> None:
    with pytest.raises(UsageError, match="does not exist"):
        Interval.parse("2011-12-30", "Pacific/Apia")
    assert Interval.parse("2011-12-29", "Pacific/Apia").next().label == "2011-12-31"


def test_of_takes_aware_and_naive_moments_and_dates() -> None:
    assert Interval.of("day", utc(2010, 6, 30, 23, 30), LONDON).label == "2010-07-01"
    assert Interval.of("day", datetime(2010, 6, 30, 23, 30), LONDON).label == "2010-06-30"  # noqa: DTZ001
    assert Interval.of("month", date(2010, 2, 28)).end == utc(2010, 3, 1)
    assert Interval.of("hour", date(2010, 7, 1), LONDON).start == utc(2010, 6, 30, 23)
    assert Interval.of("all", date(2010, 7, 1)) is Interval.all()
    with pytest.raises(UsageError, match="no unit 'week'"):
        Interval.of("week", date(2010, 7, 1))  # type: ignore[arg-type]


def test_order_containment_and_transport() -> None:
    day, hour = Interval.parse("2010-12-01"), Interval.parse("2010-12-01T23")
    assert day.contains(hour)
    assert not hour.contains(day)
    assert day.contains(day.start)
    assert not day.contains(day.end)
    assert sorted([day.next(), day, day.previous()]) == [day.previous(), day, day.next()]
    assert pickle.loads(pickle.dumps(hour)) == hour
    assert len({day, Interval.parse("2010-12-01")}) == 1


def test_a_range_has_both_ends() -> None:
    months = between(Interval.parse("2010-11"), Interval.parse("2011-01"))
    assert [month.label for month in months] == ["2010-11", "2010-12", "2011-01"]
    assert between(months[0], months[0]) == [months[0]]
    with pytest.raises(UsageError, match="before it begins"):
        between(months[1], months[0])
    with pytest.raises(UsageError, match="one unit"):
        between(months[0], Interval.parse("2010-12-01"))


def test_split_and_widen() -> None:
    month = Interval.parse("2010-12")
    days = split(month, "day", "UTC")
    assert len(days) == 31
    assert {widen(day, "month", "UTC") for day in days} == {month}
    assert split(month, "month", "UTC") == [month]
    assert widen(month, "all", "UTC") is Interval.all()
    for wrong in (lambda: split(days[0], "month", "UTC"), lambda: split(Interval.all(), "day", "UTC")):
        with pytest.raises(UsageError, match="cannot be split"):
            wrong()
    with pytest.raises(UsageError, match="wider"):
        widen(month, "day", "UTC")


@pytest.mark.parametrize(
    ("path", "unit", "label"),
    [
        ("2010-12-01.csv", "day", "2010-12-01"),
        ("sales_20101201.csv.gz", "day", "2010-12-01"),
        ("2010_12_01.json", "day", "2010-12-01"),
        ("2010/12/01/x.csv", "day", "2010-12-01"),
        ("2010/12/01.csv", "day", "2010-12-01"),
        ("in/2010/12/01/part-00001.csv", "day", "2010-12-01"),
        ("dt=2010-12-01/part-0.csv", "day", "2010-12-01"),
        ("dt=2010-12-01/part-0-20240105.csv", "day", "2010-12-01"),
        ("day=2010-12-01/x.csv", "day", "2010-12-01"),
        ("year=2010/month=12/day=01/", "day", "2010-12-01"),
        ("year=2010/month=1/country=DE/day=2/x.csv", "day", "2010-01-02"),
        ("2010-12-01.csv/part-0.csv", "day", "2010-12-01"),
        ("2010-12-02/sales_20101201.csv", "day", "2010-12-01"),
        ("2010-12-01/2011.csv", "day", "2010-12-01"),
        ("2010-12-01T05.csv", "hour", "2010-12-01T05"),
        ("2010-12-01-05.csv", "hour", "2010-12-01T05"),
        ("2010120105.csv", "hour", "2010-12-01T05"),
        ("20101201T053000Z.csv", "hour", "2010-12-01T05"),
        ("2010/12/01/05/x.csv", "hour", "2010-12-01T05"),
        ("2010/12/01/05/sales_20101201.csv", "hour", "2010-12-01T05"),
        ("dt=2010-12-01/hour=05", "hour", "2010-12-01T05"),
        ("dt=2010-12-01 05%3A00%3A00/x.csv", "hour", "2010-12-01T05"),
        ("2010-12-01T05.csv", "day", "2010-12-01"),
        ("2010-12-01T05.csv", "month", "2010-12"),
        ("2010-12.csv", "month", "2010-12"),
        ("2010/12/", "month", "2010-12"),
        ("2010/12/01/x.csv", "month", "2010-12"),
        ("anything", "all", "all"),
        ("2010-12.csv", "day", None),
        ("2010/12/x.csv", "day", None),
        ("2010-12-01.csv", "hour", None),
        ("2010-02-30.csv", "day", None),
        ("2010-12-45.csv", "month", None),
        ("1291161600000.csv", "day", None),
        ("12345678901201.csv", "day", None),
        ("README.md", "day", None),
        ("", "day", None),
    ],
)
def test_the_date_in_a_path(path: str, unit: Unit, label: str | None) -> None:
    found = of_path(path, unit, "UTC")
    assert (found and found.label) == label


def test_hours_in_paths_are_on_the_local_clock() -> None:
    assert of_path("2010-07-01T00.csv", "hour", LONDON) == Interval.parse("2010-07-01T00", LONDON)
    assert of_path("2010-10-31T01.csv", "hour", LONDON) == Interval.parse("2010-10-31T01+01:00", LONDON)
    assert of_path("2010-10-31T01+00:00.csv", "hour", LONDON) == Interval.parse("2010-10-31T01+00:00", LONDON)


def test_a_template() -> None:
    of = matcher("/raw/%Y/%m/sales_%Y%m%d*.csv", "day", "UTC")
    assert of("/raw/2010/12/sales_20101201_b.csv") == Interval.parse("2010-12-01")
    assert of("/raw/2010/11/sales_20101201.csv") is None
    assert of("/raw/2010/12/sales_20101301.csv") is None
    assert of("/raw/2010/12/sales.csv") is None
    folder = matcher("/raw/%Y-%m-%dT%H", "day", "UTC")
    assert folder("/raw/2010-12-01T05/part.csv") == folder("/raw/2010-12-01T05") == Interval.parse("2010-12-01")
    assert matcher("/raw/%Y%m.csv", "day", "UTC")("/raw/201012.csv") is None
    assert matcher("/raw/%d.csv", "day", "UTC")("/raw/01.csv") is None
    assert matcher("/a.b/[xy]?/**/%Y.csv", "all", "UTC")("/a.b/x1/2/3/2010.csv") is Interval.all()
    assert matcher("/a.b/%Y.csv", "all", "UTC")("/acb/2010.csv") is None


def test_the_glob_of_a_template() -> None:
    assert to_glob("/raw/%Y/%m/*%d_100%%.csv") == "/raw/[0-9][0-9][0-9][0-9]/[0-9][0-9]/*[0-9][0-9]_100%.csv"
    for wrong in ("/raw/%q.csv", "/raw/100%"):
        with pytest.raises(UsageError, match="Legal: %Y, %m, %d, %H"):
            to_glob(wrong)
        with pytest.raises(UsageError, match="Legal: %Y, %m, %d, %H"):
            matcher(wrong, "day", "UTC")


def test_the_module_imports_neither_pydantic_nor_spark() -> None:
    code = "import sys, penstock.interval; print(sorted({'pydantic', 'pyspark', 'yaml'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
