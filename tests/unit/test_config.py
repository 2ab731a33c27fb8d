"""Layers, YAML, and errors that say where they were written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from penstock.config import Column, Config, CsvOptions, Dataset, DeltaOptions, JsonOptions, Settings, Slice, load
from penstock.config import layers as layers_module
from penstock.config.yaml import MAX_BYTES, parse, read
from penstock.errors import ConfigurationError, UsageError
from penstock.job import Job, Output, Params

Write = Callable[[Mapping[str, str]], Path]

ITEMS = """\
shop.items:
  format: csv
  location: ${data}/items/%Y-%m-%d.csv
  columns:
    - {name: id, type: bigint, nullable: false}
    - {name: country, type: string}
  key: [id]
"""


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Puts files in the place of the packaged configuration."""
    first = {"base/catalog/shop.yaml": ITEMS, "local/environment.yaml": "data: /d\nwarehouse: /w\n"}
    return _writer(tmp_path / "conf", monkeypatch, first)


@pytest.fixture
def own(tmp_path: Path) -> Write:
    """Puts files into a user's own folder of configuration."""
    return _writer(tmp_path / "own")


def _writer(root: Path, patch: pytest.MonkeyPatch | None = None, first: Mapping[str, str] | None = None) -> Write:
    def write(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    if patch is not None:
        patch.setattr(layers_module, "PACKAGED", root)
    write(first or {})
    return write


def quiet(**given: Any) -> Config:
    return load(**{"environ": {}, **given})


class Knobs(Params):
    """Parameters of every kind."""

    shade: Literal["red", "blue"] = "red"
    deep: bool = False
    depth: int = 3
    share: float | None = None
    names: tuple[str, ...] = ()
    sizes: list[int] = Field(default=[])
    weights: dict[str, float] = Field(default={})
    since: date | None = None


class Needy(Params):
    """A parameter that is needed."""

    year: int


def a_job(params: type[Params] = Knobs) -> Job:
    return Job(name="paint", transform=lambda: None, inputs={}, outputs={"out": Output("shop.items")}, params=params)


# --- YAML ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("2010-12-01", "2010-12-01"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("017", 17),
        ("0o17", 15),
        ("0x1f", 31),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".inf", float("inf")),
        ("~", None),
        ("null", None),
        ("", None),
        ("'true'", "true"),
        ('"12"', "12"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, value: object) -> None:
    found = parse(f"key: {text}", "a.yaml").plain()["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", "a.yaml:3: is not YAML"),
        ("a: 1\n\tb: 2\n", "a.yaml:2: is not YAML"),
        ("a: 1\nb: 2\na: 3\n", "a.yaml:3: the key a is there twice, first at a.yaml:1"),
        ("a: !!python/object/apply:os.system [ls]\n", "a.yaml:1: has the tag"),
        ("a: !!str 5\n", "a.yaml:1: has the tag"),
        ("a: 1\n---\nb: 2\n", "a.yaml:2: a second document"),
        ("? [1, 2]\n: 3\n", "a.yaml:1: a key must be a plain word"),
        ("a: *b\n", "a.yaml:1: *b has no anchor"),
        ("a: &b\n  - *b\n", "a.yaml:2: *b has no anchor"),
        ("a:\n  " + "[" * 60 + "]" * 60, "a.yaml:2: is nested deeper"),
        ("a: " + "9" * 5000, "a.yaml:1: is not a number"),
        ("a: \x07", "a.yaml:1: is not YAML"),
    ],
)
def test_what_is_not_understood_names_file_and_line(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "a.yaml")
    assert str(caught.value).startswith(message)


def test_aliases_work_but_do_not_explode() -> None:
    assert parse("a: &x [1, 2]\nb: *x\n", "a.yaml").plain() == {"a": (1, 2), "b": (1, 2)}
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
    with pytest.raises(ConfigurationError, match="more than 1,000 values"):
        parse(bomb, "a.yaml")


def test_files_that_are_too_big_or_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"a: " + b"x" * MAX_BYTES)
    with pytest.raises(ConfigurationError, match="may have 1,000,000"):
        read(path)
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigurationError, match=r"big.yaml:2: is not UTF-8"):
        read(path)
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path).plain() == {"a": 1}
    path.write_bytes(b"# nothing but a comment\n")
    assert read(path).plain() == {}
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(tmp_path)


# --- layers ----------------------------------------------------------------------------------------------------------


def test_the_packaged_configuration_is_whole() -> None:
    config = quiet()
    assert config.settings.release == "emr-spark-8.1.0"
    assert config.settings.ledger_path == f"{Path.cwd()}/warehouse/_penstock/ledger.sqlite"
    assert config.dataset("retail.raw").location == f"{Path.cwd()}/data/retail"
    assert config.dataset("retail.lines").slice == Slice(column="invoice_date", unit="day")
    assert [entry.name for entry in config.nightly.jobs][:2] == ["retail_lines", "retail_daily_sales"]


def test_layers_lie_over_each_other_in_order(packaged: Write, own: Write) -> None:
    packaged(
        {
            "base/environment.yaml": "release: a\ntimezone: Europe/London\nspark: {conf: {x.y: 1, z: true}}\n",
            "local/environment.yaml": "data: /d\nwarehouse: /w\nrelease: b\n",
        }
    )
    folder = own(
        {
            "base/environment.yaml": "release: c\n",
            "local/environment.yaml": "spark: {conf: {x.y: 2}}\n",
            "local/catalog/mine.yaml": "shop.items: {key: [country]}\n",
        }
    )
    config = quiet(conf=[folder], environ={"PENSTOCK__SPARK__MASTER": "local[3]"})
    assert (config.settings.release, config.settings.timezone) == ("c", "Europe/London")
    assert config.settings.spark.conf == {"x.y": "2", "z": "true"}
    assert config.settings.spark.master == "local[3]"
    assert config.dataset("shop.items").key == ("country",)
    assert config.dataset("shop.items").column_names == ("id", "country")
    assert [Path(source).name for source in config.sources[-4:]] == [
        "environment.yaml",
        "environment.yaml",
        "mine.yaml",
        "PENSTOCK__SPARK__MASTER",
    ]


def test_a_folder_without_environments_is_a_layer_itself(packaged: Write, own: Write) -> None:
    packaged({})
    folder = own({"environment.yaml": "timezone: Asia/Tokyo\n", "jobs/paint.yaml": "depth: 5\n"})
    config = quiet(conf=[folder])
    assert config.settings.timezone == "Asia/Tokyo"
    assert config.params(a_job(), {}) == Knobs(depth=5)


def test_an_environment_may_be_the_users_own(packaged: Write, own: Write) -> None:
    packaged({})
    folder = own({"cloud/environment.yaml": "data: s3://b/raw/\nwarehouse: s3://b/wh\n"})
    config = quiet(env="cloud", conf=[folder])
    assert config.settings.data == "s3://b/raw"
    assert config.dataset("shop.items").location == "s3://b/raw/items/%Y-%m-%d.csv"
    assert quiet(conf=[folder]).settings.data == "/d"


@pytest.mark.parametrize("env", ["lokal", "base", "..", "local/..", ""])
def test_an_unknown_environment_lists_where_it_was_looked_for(packaged: Write, own: Write, env: str) -> None:
    packaged({})
    folder = own({"cloud/environment.yaml": "timezone: UTC\n"})
    with pytest.raises(UsageError, match=r"no environment .*Legal: cloud, local") as caught:
        quiet(env=env, conf=[folder])
    assert [line.split("looked for ")[0] for line in caught.value.evidence] == ["", ""]
    assert str(folder) in caught.value.evidence[1]


def test_a_conf_folder_that_is_none_is_refused(packaged: Write, tmp_path: Path) -> None:
    packaged({})
    with pytest.raises(UsageError, match="no such folder"):
        quiet(conf=[tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no configuration. It may hold environment.yaml"):
        quiet(conf=[tmp_path / "empty"])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("environment.yml", "environment.yaml"),
        ("nightlies.yaml", "nightly.yaml"),
        ("catalogs/a.yaml", "catalog"),
        ("catalog/shop.yml", "shop.yaml"),
    ],
)
def test_a_file_that_would_not_be_read_is_an_error(packaged: Write, name: str, hint: str) -> None:
    packaged({f"local/{name}": "a: 1\n"})
    with pytest.raises(ConfigurationError, match=f"would not be read.*{hint}"):
        quiet()


def test_paths(packaged: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged({})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    config = quiet(data="raw", warehouse="~/tables")
    assert config.settings.data == f"{tmp_path}/raw"
    assert config.settings.warehouse == "/home/me/tables"
    assert config.settings.ledger.path == "/home/me/tables/_penstock/ledger.sqlite"
    assert config.dataset("shop.items").location == f"{tmp_path}/raw/items/%Y-%m-%d.csv"
    assert quiet(data="file:///x").settings.data == "/x"


def test_an_input_may_lie_elsewhere(packaged: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged({})
    monkeypatch.chdir(tmp_path)
    assert quiet(inputs={"shop.items": "there/*.csv"}).dataset("shop.items").location == f"{tmp_path}/there/*.csv"
    with pytest.raises(UsageError, match="Did you mean shop.items"):
        quiet(inputs={"shop.item": "there"})


# --- errors ----------------------------------------------------------------------------------------------------------


UNKNOWN = "is not a known key."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: /d\n\ntimezon: UTC", f"environment.yaml:3: timezon {UNKNOWN} Did you mean timezone?"),
        ("ledger:\n  lease: 3", f"environment.yaml:2: ledger.lease {UNKNOWN} Legal: lease_seconds, path, table."),
        ("data: /d", "environment.yaml:1: warehouse is needed and not there."),
        ("data: 7\nwarehouse: /w", "environment.yaml:1: data: input should be a valid string (it is 7)."),
        ("data: /d\nwarehouse: /w\ntimezone: Mars", "environment.yaml:3: timezone: there is no time zone 'Mars'"),
        ("- a", "environment.yaml:1: the file must be a mapping"),
        ("spark: fast", "environment.yaml:1: spark: input should be a valid dictionary"),
    ],
)
def test_errors_in_settings_name_file_line_key_and_the_nearest_legal(packaged: Write, text: str, message: str) -> None:
    packaged({"local/environment.yaml": text})
    with pytest.raises(ConfigurationError) as caught:
        quiet()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fromat: csv", f"a.yaml:2: shop.items: fromat {UNKNOWN} Did you mean format?"),
        ("name: x", f"a.yaml:2: shop.items: name {UNKNOWN}"),
        ("format: cvs", "a.yaml:2: shop.items: format: input should be 'csv'"),
        (
            "options: {\n  header: yes}",
            "a.yaml:3: shop.items: options.header: input should be a valid boolean (it is 'yes')",
        ),
        (
            "format: json\n  options: {header: true}",
            f"a.yaml:3: shop.items: options.header {UNKNOWN} Legal: encoding, multi",
        ),
        ("options: {encoding: latin-99}", "a.yaml:2: shop.items: options.encoding: there is no such encoding"),
        (
            "columns:\n  - name: id\n    type: strnig",
            "a.yaml:4: shop.items: columns.0.type: 'strnig' is not a column type.",
        ),
        ("key: [idd]", "a.yaml:1: shop.items: key: idd is not a column. Did you mean id?"),
        ("location: ${home}/x", "a.yaml:2: ${home} stands for nothing. Legal: ${data}, ${warehouse}."),
        ("", "a.yaml:1: shop.items: must be a mapping"),
    ],
)
def test_errors_in_the_catalog_name_the_dataset_too(packaged: Write, text: str, message: str) -> None:
    packaged({"local/catalog/a.yaml": f"shop.items:\n  {text}\n"})
    with pytest.raises(ConfigurationError) as caught:
        quiet()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("local/nightly.yaml", "jobs:\n  - name: a\n  - nam: b", f"nightly.yaml:3: nightly: jobs.1.nam {UNKNOWN}"),
        (
            "local/nightly.yaml",
            "jobs:\n  - name: a\n  - name: a",
            "nightly.yaml:1: nightly: jobs: the job a is there twice",
        ),
        ("base/catalog/b.yaml", ITEMS, "shop.yaml:1: the dataset shop.items is there twice"),
        ("base/catalog/b.yaml", "Shop:\n  format: csv", "b.yaml:1: Shop: name: string should match"),
    ],
)
def test_errors_in_names(packaged: Write, name: str, text: str, message: str) -> None:
    packaged({name: text})
    with pytest.raises(ConfigurationError) as caught:
        quiet()
    assert message in " ".join([str(caught.value), *caught.value.evidence])


def test_all_errors_of_a_file_are_told_at_once(packaged: Write) -> None:
    packaged({"local/environment.yaml": "dat: /d\nwarehous: /w\n"})
    with pytest.raises(ConfigurationError, match="There are 3 more") as caught:
        quiet()
    assert len(caught.value.evidence) == 4


def test_an_unknown_dataset_names_the_nearest(packaged: Write) -> None:
    packaged({})
    with pytest.raises(ConfigurationError, match="Did you mean shop.items") as caught:
        quiet().dataset("shop.itens")
    assert all(line.startswith("looked in ") for line in caught.value.evidence)


# --- variables -------------------------------------------------------------------------------------------------------


def test_variables_set_settings(packaged: Write) -> None:
    packaged({})
    settings = quiet(
        environ={
            "PENSTOCK__SETTINGS__TIMEZONE": "Asia/Tokyo",
            "PENSTOCK__LEDGER__LEASE_SECONDS": "2.5",
            "PENSTOCK__SPARK__CONF": "{a.b: true}",
            "PENSTOCK__SPARK__CONF__spark.sql.shuffle.partitions": "7",
            "PENSTOCK__SPARK__DRIVER_MEMORY": "null",
            "PENSTOCK_OTHER": "not ours",
        }
    ).settings
    assert (settings.timezone, settings.ledger.lease_seconds) == ("Asia/Tokyo", 2.5)
    assert settings.spark.conf == {"a.b": "true", "spark.sql.shuffle.partitions": "7"}
    assert settings.spark.driver_memory is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PENSTOCK__TIMEZON", "UTC", "names no setting: TIMEZON. Did you mean TIMEZONE"),
        ("PENSTOCK__LEDGER__LEASE_SECOND", "1", "Did you mean LEASE_SECONDS"),
        ("PENSTOCK__LEDGER", "1", "PENSTOCK__LEDGER__LEASE_SECONDS"),
        (
            "PENSTOCK__LEDGER__LEASE_SECONDS",
            "soon",
            "LEASE_SECONDS: ledger.lease_seconds: input should be a valid number",
        ),
        ("PENSTOCK__TIMEZONE__X", "1", "goes too deep"),
        ("PENSTOCK__JOBS__PAINT", "1", "must be PENSTOCK__JOBS__<JOB>__<PARAMETER>"),
        ("PENSTOCK__", "1", "names no setting"),
        ("PENSTOCK__SETTINGS", "1", "names a group"),
    ],
)
def test_a_variable_that_is_not_understood_is_named(packaged: Write, name: str, value: str, message: str) -> None:
    packaged({})
    with pytest.raises(ConfigurationError) as caught:
        quiet(environ={name: value})
    assert name in str(caught.value)
    assert message in str(caught.value)


# --- parameters ------------------------------------------------------------------------------------------------------


def test_parameters_come_from_file_variable_and_command_line(packaged: Write) -> None:
    packaged({"base/jobs/paint.yaml": "depth: 1\nshade: blue\nnames: [a]\n", "local/jobs/paint.yaml": "depth: 2\n"})
    config = quiet(environ={"PENSTOCK__JOBS__PAINT__DEEP": "true", "PENSTOCK__JOBS__OTHER__X": "1"})
    assert config.params(a_job(), {}) == Knobs(depth=2, shade="blue", names=("a",), deep=True)
    assert config.params(a_job(), {"depth": "9", "deep": "false"}) == Knobs(depth=9, shade="blue", names=("a",))


def test_the_nightly_has_parameters_of_its_own(packaged: Write) -> None:
    packaged({"base/jobs/paint.yaml": "depth: 1\n", "base/nightly.yaml": "jobs: [{name: paint, params: {depth: 4}}]\n"})
    config = quiet()
    assert config.params(a_job(), {}) == Knobs(depth=1)
    assert config.params(a_job(), {}, nightly=True) == Knobs(depth=4)
    assert config.params(a_job(), {"depth": "5"}, nightly=True) == Knobs(depth=5)


def test_text_is_typed_by_the_parameter(packaged: Write) -> None:
    packaged({})
    sets = {
        "share": "0.5",
        "names": "a, b",
        "sizes": "[1, 2]",
        "weights": '{"x": 1}',
        "since": "2010-12-01",
        "shade": "blue",
    }
    found = quiet().params(a_job(), sets)
    assert found == Knobs(
        share=0.5, names=("a", "b"), sizes=[1, 2], weights={"x": 1.0}, since=date(2010, 12, 1), shade="blue"
    )
    assert quiet().params(a_job(), {"share": "null", "names": ""}) == Knobs()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("dept", "3", "no parameter dept. Did you mean depth? Legal: deep, depth"),
        ("depth", "deep", "input should be a valid integer"),
        ("depth", "1.5", "input should be a valid integer"),
        ("deep", "yes", "input should be true or false"),
        ("shade", "green", "input should be 'red' or 'blue'"),
        ("sizes", "[1", "is not JSON"),
        ("sizes", "1,x", "input should be a valid integer"),
    ],
)
def test_a_wrong_parameter_is_a_usage_error(packaged: Write, name: str, text: str, message: str) -> None:
    packaged({})
    with pytest.raises(UsageError) as caught:
        quiet().params(a_job(), {name: text})
    assert message in str(caught.value)
    assert f"--set {name}={text}" in str(caught.value)


def test_wrong_parameters_in_files_and_variables_name_their_place(packaged: Write) -> None:
    packaged({"local/jobs/paint.yaml": "shade: red\ndeep: yes\n"})
    with pytest.raises(ConfigurationError, match=r"paint.yaml:2: paint.deep: input should be true or false"):
        quiet().params(a_job(), {})
    packaged({"local/jobs/paint.yaml": "shade: red\ndept: 1\n"})
    with pytest.raises(ConfigurationError, match=r"paint.yaml:2: paint.dept is not a known key. Did you mean depth"):
        quiet().params(a_job(), {})
    packaged({"local/jobs/paint.yaml": ""})
    with pytest.raises(ConfigurationError, match="PENSTOCK__JOBS__PAINT__DEPT: the job paint has no parameter dept"):
        quiet(environ={"PENSTOCK__JOBS__PAINT__DEPT": "1"}).params(a_job(), {})


def test_a_needed_parameter_that_is_nowhere(packaged: Write) -> None:
    packaged({})
    with pytest.raises(UsageError, match=r"needs the parameter year. Add --set year="):
        quiet().params(a_job(Needy), {})
    assert quiet().params(a_job(Needy), {"year": "2010"}) == Needy(year=2010)


def test_what_is_written_for_a_job_that_is_not_there_is_told(packaged: Write) -> None:
    packaged({"local/jobs/pain.yaml": "depth: 1\n"})
    with pytest.raises(ConfigurationError, match=r"pain.yaml:1: parameters of the job pain.*Did you mean paint"):
        quiet().check_jobs(["paint"])
    with pytest.raises(ConfigurationError, match="PENSTOCK__JOBS__PANT__X"):
        quiet(environ={"PENSTOCK__JOBS__PANT__X": "1"}).check_jobs(["paint", "pain"])
    quiet(environ={"PENSTOCK__JOBS__PAINT__X": "1"}).check_jobs(["paint", "pain"])


# --- models ----------------------------------------------------------------------------------------------------------


def a_dataset(**given: Any) -> Dataset:
    columns = (Column(name="id", type="int"), Column(name="day", type="date"))
    return Dataset(**{"name": "a.b", "format": "csv", "location": "/x", "columns": columns, **given})


def test_options_are_those_of_the_format() -> None:
    assert a_dataset().options == CsvOptions()
    assert a_dataset(format="delta").options == DeltaOptions()
    assert a_dataset(options={"delimiter": ";"}).options == CsvOptions(delimiter=";")
    with pytest.raises(ValidationError, match="JsonOptions are not options of the format csv"):
        a_dataset(options=JsonOptions())


@pytest.mark.parametrize(
    "given",
    [
        {"columns": (Column(name="id", type="int"), Column(name="ID", type="int"))},
        {"columns": ()},
        {"slice": Slice(column="nope")},
        {"format": "delta", "slice": Slice(column="id")},
        {"format": "delta", "slice": Slice(column="day", unit="hour")},
        {"name": "A b"},
        {"target_file_mb": 0},
    ],
)
def test_a_dataset_that_does_not_fit_together_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_dataset(**given)


@pytest.mark.parametrize("ddl", ["int", "DECIMAL(12, 2)", "array<map<string, struct<a: int, `b c` decimal(3)>>>"])
def test_column_types(ddl: str) -> None:
    assert Column(name="x", type=ddl).type == ddl


@pytest.mark.parametrize(
    "ddl", ["", "in", "decimal(40,2)", "decimal(2,3)", "array<int, int>", "map<int>", "struct<int>"]
)
def test_what_is_no_column_type(ddl: str) -> None:
    with pytest.raises(ValidationError):
        Column(name="x", type=ddl)


def test_models_are_frozen() -> None:
    settings = Settings(warehouse="/w", data="/d")
    with pytest.raises(ValidationError):
        settings.data = "/e"  # type: ignore[misc]


def test_the_package_imports_no_spark() -> None:
    code = "import sys, penstock.config; print('pyspark' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
