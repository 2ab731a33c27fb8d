"""Tables in PostgreSQL, against a real server: what is read and how it is asked for, published, and refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from postgresql_server import PASSWORD, Server, programs
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from penstock.config import Column, Dataset
from penstock.errors import ConfigurationError, PenstockError
from penstock.storage import publish
from penstock.storage.databases.connection import place_of
from penstock.storage.formats import tables
from penstock.storage.formats.table import VersionMovedError

if TYPE_CHECKING:
    from conftest import Moving

pytestmark = pytest.mark.skipif(programs() is None, reason="this machine has no PostgreSQL")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    found = Server()
    os.environ["SHOP_PASSWORD"] = PASSWORD
    yield found
    del os.environ["SHOP_PASSWORD"]
    found.stop()


ORDERS = """\
    - {name: day, type: date, nullable: false}
    - {name: id, type: bigint, nullable: false}
    - {name: amount, type: "decimal(9,2)"}
    - {name: note, type: string}
    - {name: at, type: timestamp}
"""


def catalog(server: Server, extra: str = "", options: str = "", location: str = "orders") -> str:
    """`its.db` in PostgreSQL, `its.raw` (CSV) and `its.lake` (Delta) with the same columns."""
    own = f"user: shop, password: 'env:SHOP_PASSWORD', tls: disable{options and ', ' + options}"
    return f"""\
its.db:
  format: postgresql
  location: {server.location(location)}
  slice: {{column: day, unit: day}}
  key: [id]
  options: {{{own}}}
  columns:
{ORDERS}
its.raw:
  format: csv
  location: ${{data}}/raw
  columns:
{ORDERS}
its.lake:
  format: delta
  location: ${{warehouse}}/lake
  slice: {{column: day, unit: day}}
  key: [id]
  columns:
{ORDERS}
{extra}"""


def table(server: Server, name: str = "orders") -> None:
    server.run(
        f"DROP TABLE IF EXISTS {name} CASCADE",
        f"CREATE TABLE {name} (id int PRIMARY KEY, day date NOT NULL, amount numeric(9,2), note text, at timestamptz)",
    )


def fill(server: Server, values: str) -> None:
    server.run(f"INSERT INTO orders (id, day, amount, note, at) VALUES {values}")


def test_a_table_is_copied_slice_by_slice_and_again_where_it_changed(
    server: Server, moving: Callable[..., Moving]
) -> None:
    table(server)
    fill(
        server,
        "(1, '2026-01-01', 1.5, 'a', '2026-01-01 23:30+00'), (2, '2026-01-01', NULL, '', NULL), "
        "(3, '2026-01-02', 3, 'o''hara \\ ünï', '2026-07-01 00:00+02')",
    )
    its = moving(catalog(server), source="its.db", target="its.lake")
    done = its.must("copy", "2026-01-01", "2026-01-02")
    assert done["accounting"]["copy"]["read"] == 3
    rows = its.rows("lake", 'id, amount::VARCHAR, note, epoch("at")')
    assert rows == [
        (1, "1.50", "a", 1767310200.0),
        (2, None, "", None),
        (3, "3.00", "o'hara \\ ünï", 1782856800.0),
    ]
    assert its.run("copy", "2026-01-01", "2026-01-02")["state"] == "skipped"
    # A row that moved from one day to another is a change of both; a note's change of its own.
    server.run("UPDATE orders SET day = '2026-01-02' WHERE id = 2")
    assert its.must("copy", "2026-01-01", "2026-01-02")["states"] == {"succeeded": 2}
    server.run("UPDATE orders SET note = 'b' WHERE id = 1")
    moment = server.moment()
    assert its.must("copy", "2026-01-01", "2026-01-02")["states"] == {"skipped": 1, "succeeded": 1}
    assert its.rows("lake", "id, note, day::VARCHAR") == [
        (1, "b", "2026-01-01"),
        (2, "", "2026-01-02"),
        (3, "o'hara \\ ünï", "2026-01-02"),
    ]
    # Only that day was asked for, by Spark's tasks too.
    reads = [one for one in server.asked(moment) if "FROM (SELECT" in one]
    assert reads
    assert all("IN ('2026-01-01'::date)" in one for one in reads)


def test_a_read_is_split_into_parts_of_like_size_and_the_server_does_the_choosing(
    server: Server, spark: SparkSession, tmp_path: Path
) -> None:
    """Nine tenths of the ids lie in a thousandth of their span: parts of like width would be one part."""
    server.run(
        "DROP TABLE IF EXISTS events",
        "CREATE TABLE events (id bigint, kind text, filler text)",
        "INSERT INTO events "
        "SELECT CASE WHEN n % 10 = 0 THEN n::bigint * 1000000 ELSE n END, 'k' || n % 3, repeat('x', 20) "
        "FROM generate_series(1, 120000) AS n",
        "INSERT INTO events VALUES (NULL, 'none', '')",
    )
    dataset = Dataset(
        name="its.events",
        format="postgresql",
        location=server.location("public.events"),
        columns=(Column(name="id", type="bigint"), Column(name="kind", type="string")),
        options={"user": "shop", "password": "env:SHOP_PASSWORD", "tls": "disable", "split_column": "id"},
    )
    found = tables.open_table(dataset)
    assert found is not None
    found.hold()
    # What comes while parts are read is seen by none of them.
    server.run("INSERT INTO events VALUES (5, 'late', ''), (99999999999, 'late', '')")
    moment = server.moment()
    frame = found.frame(spark)
    parts = frame.groupBy(F.spark_partition_id().alias("part")).count().collect()
    sizes = sorted(row["count"] for row in parts)
    assert len(sizes) == 4
    assert sum(sizes) == 120_001
    assert sizes[-1] < 1.1 * sizes[0] + 1, f"parts of {sizes} rows"
    assert frame.where("kind = 'k1'").select("kind").distinct().count() == 1
    found.release()
    asked = [one for one in server.asked(moment) if "SELECT" in one and "_part" in one and "1=0" not in one]
    assert all("filler" not in one for one in asked), "a column that nobody wants was asked for"
    assert any("\"kind\" = 'k1'" in one for one in asked), asked[-1]
    print(f"\n120,001 skewed rows in 4 parts: {sizes}")


def test_what_is_new_is_told_by_a_mark_that_the_ledger_keeps(server: Server, moving: Callable[..., Moving]) -> None:
    """Rows of an equal mark, late ones, and rows without one: none is missed, none is there twice."""
    server.run(
        "DROP TABLE IF EXISTS changes",
        "CREATE TABLE changes (id int, note text, at timestamptz)",
        "INSERT INTO changes VALUES (1, 'a', '2026-01-01 10:00+00'), (2, 'b', '2026-01-01 12:00+00'), (3, 'c', NULL)",
    )
    columns = "    - {name: id, type: int}\n    - {name: note, type: string}\n    - {name: at, type: timestamp}\n"
    own = "user: shop, password: 'env:SHOP_PASSWORD', tls: disable, mark: at, mark_overlap: 600"
    its = moving(
        f"its.changes:\n  format: postgresql\n  location: {server.location('changes')}\n"
        f"  options: {{{own}}}\n  columns:\n{columns}"
        f"its.copy:\n  format: delta\n  location: ${{warehouse}}/copy\n  key: [id]\n  columns:\n{columns}",
        source="its.changes",
        target="its.copy",
        unit="all",
        mode="merge",
    )

    def copied() -> tuple[int, list[Any]]:
        done = its.must("copy", None)
        return done["accounting"]["copy"]["read"], its.rows("copy", "id, note")

    first = its.must("copy", None)
    assert first["inputs"]["rows"]["mark"] == "2026-01-01 12:00:00+00"
    assert its.run("copy", None)["state"] == "skipped"
    # As late as the highest of before; changed; and new.
    server.run(
        "INSERT INTO changes VALUES (4, 'd', '2026-01-01 12:00+00')",
        "UPDATE changes SET note = 'A', at = '2026-01-01 12:30+00' WHERE id = 1",
    )
    read, rows = copied()
    assert rows == [(1, "A"), (2, "b"), (3, "c"), (4, "d")]
    assert read == 4
    # A transaction that began before and ended after: within the overlap, it is seen. 2 and 4 are behind it by now.
    server.run("INSERT INTO changes VALUES (5, 'e', '2026-01-01 12:25+00')")
    read, rows = copied()
    assert rows == [(1, "A"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]
    assert read == 3
    assert its.run("copy", None)["state"] == "skipped"
    # Rows that are not new were not asked for; when what they were copied to is gone, all are.
    shutil.rmtree(its.folder / "tables" / "copy")
    assert its.must("copy", None, force=True)["accounting"]["copy"]["read"] == 5
    assert its.rows("copy", "id, note") == rows


@pytest.fixture
def raw(tmp_path: Path) -> Callable[..., None]:
    def write(day: int, *lines: str) -> None:
        (tmp_path / "data" / "raw").mkdir(parents=True, exist_ok=True)
        text = "\n".join(["day,id,amount,note,at", *(f"2026-01-0{day},{line}" for line in lines)])
        (tmp_path / "data" / "raw" / f"2026-01-0{day}.csv").write_text(text + "\n")

    return write


def held(server: Server) -> list[Any]:
    return [
        tuple(row) for row in server.run("SELECT id, day::text, amount::text, note, at::text FROM orders ORDER BY id")
    ]


def test_publishing_is_one_transaction_and_a_rerun_changes_nothing(
    server: Server, moving: Callable[..., Moving], raw: Callable[..., None]
) -> None:
    server.run("DROP TABLE IF EXISTS orders CASCADE", "DROP TABLE IF EXISTS penstock_commits")
    raw(1, "1,1.50,a,2026-01-01 10:00:00", '2,,"say ""hi"", o\'hara",', "x,1,bad,")
    raw(2, "3,2.50,,2026-01-02 11:00:00")
    its = moving(catalog(server), source="its.raw", target="its.db")
    done = its.must("copy", "2026-01-01", "2026-01-02")
    account = done["accounting"]["copy"]
    assert (account["accepted"], account["quarantined"]) == (3, 1)
    assert held(server) == [
        (1, "2026-01-01", "1.50", "a", "2026-01-01 10:00:00+00"),
        (2, "2026-01-01", None, 'say "hi", o\'hara', None),
        (3, "2026-01-02", "2.50", None, "2026-01-02 11:00:00+00"),
    ]
    before = server.run("SELECT xmin::text, id FROM orders ORDER BY id")
    assert its.run("copy", "2026-01-01", "2026-01-02")["state"] == "skipped"
    assert server.run("SELECT xmin::text, id FROM orders ORDER BY id") == before
    # One day again: the other is not touched, and what somebody else put into this one goes.
    fill(server, "(9, '2026-01-01', 9, 'foreign', NULL)")
    raw(1, "1,1.75,a,2026-01-01 10:00:00")
    done = its.must("copy", "2026-01-01", "2026-01-02")
    assert done["states"] == {"skipped": 1, "succeeded": 1}
    assert done["outputs"]["copy"]["replaced_rows"] == 3
    assert [row[:3] for row in held(server)] == [(1, "2026-01-01", "1.75"), (3, "2026-01-02", "2.50")]
    ((version, app, metadata),) = server.run(
        "SELECT version, app_id, metadata FROM penstock_commits ORDER BY version DESC LIMIT 1"
    )
    assert (version, json.loads(metadata)["job"]) == (2, "copy_its_db")
    assert app.startswith("penstock/copy_its_db/")
    # Nothing of what the rows went through is left.
    assert not [
        path for path in (its.folder / "tables" / "_staging").rglob("*.parquet") if "quarantine" not in str(path)
    ]


def test_merging_is_an_upsert_that_keeps_what_it_does_not_know(
    server: Server, moving: Callable[..., Moving], raw: Callable[..., None]
) -> None:
    table(server)
    server.run("ALTER TABLE orders ADD COLUMN seen_by text DEFAULT 'nobody'")
    server.run(
        "DROP TABLE IF EXISTS parts", "CREATE TABLE parts (order_id int REFERENCES orders (id) ON DELETE CASCADE)"
    )
    fill(server, "(1, '2026-01-01', 1, 'old', NULL), (2, '2026-01-01', 2, 'stays', NULL)")
    server.run("UPDATE orders SET seen_by = 'ada'", "INSERT INTO parts VALUES (1)")
    raw(1, "1,1.50,new,", "3,3.50,added,")
    text = catalog(server).replace("{name: id, type: bigint", "{name: id, type: int")
    failure = moving(text, source="its.raw", target="its.db").run("copy", "2026-01-01")["failure"]
    assert "would lose what the table has in columns that the catalog does not declare: seen_by" in failure["message"]
    its = moving(text, source="its.raw", target="its.db", mode="merge")
    for _ in range(2):
        its.must("copy", "2026-01-01", force=True)
        found = server.run("SELECT id, note, seen_by FROM orders ORDER BY id")
        assert found == [[1, "new", "ada"], [2, "stays", "ada"], [3, "added", "nobody"]]
        assert server.run("SELECT count(*) FROM parts") == [[1]], "a row was deleted to be updated"
    for twice in ("4,1,a,", ",1,a,"):
        raw(1, "4,1,b,", twice)
        text = catalog(server).replace("{name: id, type: bigint, nullable: false}", "{name: id, type: int}")
        its = moving(text, source="its.raw", target="its.db", mode="merge")
        done = its.run("copy", "2026-01-01")
        assert done["state"] == "failed"
        assert "is null or stands more than once" in done["failure"]["message"]
        assert server.run("SELECT count(*) FROM orders") == [[3]]
    server.run("DROP TABLE parts")


def test_two_attempts_at_once_and_a_late_one_is_fenced(server: Server, moving: Callable[..., Moving]) -> None:
    table(server)
    server.run("DROP TABLE IF EXISTS penstock_commits")
    dataset = moving(catalog(server)).config.dataset("its.db")
    sleeper = tables.open_table(dataset)
    assert sleeper is not None
    publish.fence(dataset, 7)
    with pytest.raises(VersionMovedError):
        sleeper.commit((), (), app_id="penstock/x", epoch=6, user_metadata="{}")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda epoch: publish.fence(dataset, epoch), range(10, 22)))
    assert server.run("SELECT count(*), max(version), max(epoch) FROM penstock_commits") == [[13, 13, 21]]


def test_times_are_the_same_moments_wherever_database_session_and_java_are(
    server: Server, moving: Callable[..., Moving]
) -> None:
    """The server is in New York, Java in the machine's zone, the environment in Oslo: columns say which one counts."""
    server.run(
        "DROP TABLE IF EXISTS times",
        "CREATE TABLE times (id int, at timestamptz, wall timestamp, day date)",
        # Oslo's clocks show 02:30 twice that night, and never show it on the other.
        "INSERT INTO times VALUES (1, '2026-10-25 00:30+00', '2026-10-25 12:00', '2026-10-25'), "
        "(2, '2026-10-24 22:30+00', '2026-03-29 02:30', '0001-01-01')",
    )
    columns = [
        "{name: id, type: int}",
        "{name: at, type: timestamp}",
        "{name: wall, type: %s}",
        "{name: day, type: date}",
    ]
    lines = "".join(f"    - {one}\n" for one in columns)
    lake = f"its.lake:\n  format: delta\n  location: ${{warehouse}}/lake\n  columns:\n{lines}"
    text = (
        f"its.times:\n  format: postgresql\n  location: {server.location('times')}\n  key: [id]\n"
        "  options: {user: shop, password: 'env:SHOP_PASSWORD', tls: disable, timezone: Europe/Oslo}\n"
        f"  columns:\n{lines}{lake}"
    )
    its = moving(text.replace("%s", "timestamp"), source="its.times", target="its.lake", unit="all")
    its.must("copy", None)
    seen = its.rows("lake", 'id, epoch("at")::BIGINT, epoch(wall)::BIGINT, "day"::VARCHAR')
    assert seen == [(1, 1792888200, 1792926000, "2026-10-25"), (2, 1792881000, 1774747800, "0001-01-01")]
    # Without a zone it stays what the clock showed.
    shutil.rmtree(its.folder / "tables")
    its = moving(text.replace("%s", "timestamp_ntz"), source="its.times", target="its.lake", unit="all")
    its.must("copy", None)
    assert its.rows("lake", "id, wall::VARCHAR") == [(1, "2026-10-25 12:00:00"), (2, "2026-03-29 02:30:00")]


def test_a_number_that_does_not_fit_is_refused_and_no_row_is_lost(
    server: Server, moving: Callable[..., Moving], tmp_path: Path
) -> None:
    server.run("DROP TABLE IF EXISTS orders CASCADE")
    server.run("CREATE TABLE orders (id int, day date, amount numeric, note text, at timestamptz)")
    fill(
        server,
        "(1, '2026-01-01', 1.5, NULL, NULL), (2, '2026-01-01', 12345678901.5, NULL, NULL), "
        "(3, '2026-01-01', 1.005, NULL, NULL), (4, '2026-01-01', 'NaN', NULL, NULL), "
        "(5, '2026-01-01', NULL, NULL, NULL)",
    )
    its = moving(catalog(server), source="its.db", target="its.lake")
    account = its.must("copy", "2026-01-01")["accounting"]["copy"]
    assert (account["read"], account["accepted"], account["quarantined"]) == (5, 2, 3)
    found = its.rows("lake_quarantine", "reasons[1].rule, reasons[1].column, reasons[1].value")
    assert found == [("type", "amount", "1.005"), ("type", "amount", "12345678901.5"), ("type", "amount", "NaN")]
    # A job that accounts for no rows ends, rather than take nulls for numbers.
    query = tmp_path / "sums.sql"
    query.write_text("SELECT id, day, amount, note, at FROM orders")
    its.sets = {"file": str(query), "inputs": "orders=its.db", "target": "its.lake"}
    done = its.run("sql", "2026-01-01")
    assert done["state"] == "failed"
    assert "a row breaks the declared types" in json.dumps(done["failure"])


BROKEN: list[tuple[str, Callable[[str], str], str, str]] = [
    (
        "a wrong password",
        lambda t: t.replace("env:SHOP_PASSWORD", "env:WRONG"),
        "permission",
        "password authentication",
    ),
    ("no such user", lambda t: t.replace("user: shop", "user: nobody"), "permission", "password authentication"),
    ("no such database", lambda t: t.replace("/postgres/", "/nowhere/"), "input missing", "does not exist"),
    ("nobody there", lambda t: re.sub(r"127.0.0.1:[0-9]+", "127.0.0.1:1", t), "engine", "the connection failed"),
    ("no TLS there", lambda t: t.replace("tls: disable", "tls: require"), "engine", "refuses SSL"),
    ("no such variable", lambda t: t.replace("env:SHOP_PASSWORD", "env:NONE"), "configuration", "no variable NONE"),
    (
        "a column of another type",
        lambda t: t.replace("{name: note, type: string}", "{name: note, type: int}"),
        "schema",
        "note",
    ),
    ("a column that is gone", lambda t: t.replace("name: note", "name: notes"), "schema", "notes"),
]


@pytest.mark.parametrize(("what", "broken", "kind", "told"), BROKEN, ids=[one[0] for one in BROKEN])
def test_what_is_wrong_is_one_clear_error(
    server: Server, moving: Callable[..., Moving], monkeypatch: pytest.MonkeyPatch, what, broken, kind, told
) -> None:
    table(server)
    fill(server, "(1, '2026-01-01', 1.5, 'a', NULL)")
    monkeypatch.setenv("WRONG", "not-the-password")
    its = moving(broken(catalog(server)), source="its.db", target="its.lake")
    try:
        done = its.run("copy", "2026-01-01")
        failure = (done["failure"]["class"], done["failure"]["message"])
    except PenstockError as error:
        failure = (error.failure_class, str(error))
    assert failure[0] == kind
    assert told in failure[1]
    assert "not-the-password" not in str(failure)
    assert not (its.folder / "tables" / "lake" / "data").exists()


def test_who_may_not_read_or_write_is_told_so(server: Server, moving: Callable[..., Moving], raw) -> None:
    table(server)
    fill(server, "(1, '2026-01-01', 1.5, 'a', NULL)")
    server.run("DROP ROLE IF EXISTS guest", f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'")
    text = catalog(server).replace("user: shop", "user: guest")
    its = moving(text, source="its.db", target="its.lake")
    with pytest.raises(PenstockError, match="permission denied for table orders"):
        its.run("copy", "2026-01-01")
    server.run("GRANT SELECT ON orders TO guest")
    its.must("copy", "2026-01-01")
    raw(1, "1,2,b,")
    its.sets = {"source": "its.raw", "target": "its.db"}
    done = its.run("copy", "2026-01-01")
    assert (done["state"], done["failure"]["class"]) == ("failed", "permission")
    assert held(server)[0][3] == "a"
    server.run("DROP OWNED BY guest", "DROP ROLE guest")


def test_a_text_that_is_too_long_and_a_column_that_is_too_narrow_publish_nothing(
    server: Server, moving: Callable[..., Moving], raw: Callable[..., None]
) -> None:
    table(server)
    server.run("ALTER TABLE orders ALTER COLUMN note TYPE varchar(5)")
    raw(1, "1,1,short,", "2,1,much too long,")
    its = moving(catalog(server).replace("id, type: bigint", "id, type: int"), source="its.raw", target="its.db")
    done = its.run("copy", "2026-01-01")
    assert done["failure"]["class"] == "schema"
    assert "value too long" in done["failure"]["message"]
    assert held(server) == []
    server.run("ALTER TABLE orders ALTER COLUMN amount TYPE numeric(5,1)")
    done = its.run("copy", "2026-01-01")
    assert "amount: table numeric(5,1), catalog decimal(9,2)" in done["failure"]["message"]


@pytest.mark.slow
def test_a_connection_that_breaks_in_the_middle_ends_the_run_and_publishes_nothing(
    server: Server, moving: Callable[..., Moving]
) -> None:
    """The server ends all other connections as soon as Spark's tasks have begun to read."""
    table(server)
    server.run(
        "INSERT INTO orders SELECT n, '2026-01-01', 1, repeat('x', 1000), NULL FROM generate_series(1, 60000) AS n"
    )
    its = moving(catalog(server, options="fetch_rows: 10"), source="its.db", target="its.lake")
    moment, done = server.moment(), threading.Event()

    def cut() -> None:
        while not done.wait(0.02):
            if any("_part" in one and "1=0" not in one and "FROM (SELECT" in one for one in server.asked(moment)):
                server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        document = its.run("copy", "2026-01-01")
    finally:
        done.set()
        thread.join()
    assert document["state"] == "failed"
    assert re.search("connection|terminat", json.dumps(document["failure"]), re.IGNORECASE)
    assert tables.open_table(its.config.dataset("its.lake")) is None
    assert its.must("copy", "2026-01-01")["accounting"]["copy"]["accepted"] == 60_000


def test_a_secret_is_in_no_file_page_plan_or_log(
    server: Server, moving: Callable[..., Moving], penstock: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    table(server)
    fill(server, "(1, '2026-01-01', 1.5, 'a', NULL)")
    its = moving(catalog(server), source="its.db", target="its.lake")
    its.must("copy", "2026-01-01")
    its.sets = {"source": "its.lake", "target": "its.db"}
    its.must("copy", "2026-01-01")
    found = tables.open_table(its.config.dataset("its.db"))
    assert found is not None
    assert PASSWORD not in repr(found.place) + str(vars(found))  # type: ignore[attr-defined]
    frame = found.frame(SparkSession.active())
    frame.explain("extended")
    sets = ["--set", "source=its.db", "--set", "target=its.lake", "--conf", str(its.folder / "conf")]
    said = [
        penstock("plan", "copy", "--interval", "2026-01-01", *sets, "--warehouse", str(its.folder / "tables"), *more)
        for more in ([], ["--json"])
    ]
    shown = capfd.readouterr()
    texts = [shown.out, shown.err, *(one.out + one.err for one in said)]
    texts += [path.read_bytes().decode("latin-1") for path in its.folder.rglob("*") if path.is_file()]
    assert len(texts) > 10, "files of the runs were looked at"
    assert not [text[:200] for text in texts if PASSWORD in text]
    for location, told in (
        (f"postgresql://shop:{PASSWORD}@127.0.0.1/postgres/orders", "names a user or a password"),
        (f"postgresql://127.0.0.1:{PASSWORD}/postgres/orders", "no address of a table"),
        ("postgresql://127.0.0.1/postgres", "no address of a table"),
    ):
        dataset = its.config.dataset("its.db").model_copy(update={"location": location})
        with pytest.raises(ConfigurationError, match=told) as caught:
            place_of(dataset)
        assert PASSWORD not in str(caught.value)
    with pytest.raises(ConfigurationError, match="given by reference") as caught:
        moving(catalog(server).replace("env:SHOP_PASSWORD", PASSWORD)).config.dataset("its.db")
    assert PASSWORD not in f"{caught.value} {caught.value.evidence}"
