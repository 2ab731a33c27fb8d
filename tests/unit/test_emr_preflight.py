"""Preflight names every way in which an artefact of the corpus is broken, and has nothing against a good one."""

from __future__ import annotations

import io
import json
import platform
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from penstock.config import load
from penstock.emr import archive, dependencies, manifest, package, slim
from penstock.emr.facts import MACHINES
from penstock.emr.manifest import Manifest
from penstock.emr.preflight import is_fine, preflight
from penstock.emr.preflight.elf import needed
from penstock.emr.preflight.orders import check_order
from penstock.emr.shape import Order, Work

Files = dict[str, bytes]


def elf(machine: int = 62, glibc: str = "2.17", needs: str = "libc.so.6", symbols: bytes = b"") -> bytes:
    """The parts of a shared library that tell what it is for and what it loads: two segments, two sections."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine) + bytes(44)
    strings = f"\0{needs}\0GLIBC_{glibc}\0".encode()
    programs, entries, texts = 64, 64 + 2 * 56, 64 + 2 * 56 + 48
    sections = texts + len(strings) + 2 * len(symbols)
    header = header[:32] + struct.pack("<QQIHHHHHH", programs, sections, 0, 64, 56, 2, 64, 2, 0)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0x1000, 0, texts + len(strings), 0, 0)
    dynamic = struct.pack("<IIQQQQQQ", 2, 4, entries, 0x1000 + entries, 0, 48, 0, 0)
    tags = struct.pack("<QQQQQQ", 5, 0x1000 + texts, 1, 1, 0, 0)
    begin = texts + len(strings)
    table = struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, begin, len(symbols), 1, 0, 0, 0)
    names = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, begin + len(symbols), len(symbols), 0, 0, 0, 0)
    return header + load + dynamic + tags + strings + symbols * 2 + table + names


def wheel(name: str, tag: str = "py3-none-any", needs: str = "") -> Files:
    """A package as a wheel unpacks it."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + (f"Requires-Dist: {needs}\n" if needs else "")
    tags = f"Wheel-Version: 1.0\nTag: {tag}\n"
    return {f"{name}/__init__.py": b"", f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": tags.encode()}


NAMES = [name for name, _ in dependencies.blocks(dependencies.pins(full=False))]
GOOD_DEPS: Files = {
    **{path: data for name in NAMES for path, data in wheel(name.replace("-", "_")).items()},
    **wheel("fast", "cp311-cp311-manylinux_2_17_x86_64"),
    "fast/_fast.cpython-311-x86_64-linux-gnu.so": elf(),
}
GOOD_CODE: Files = {
    "shop/__init__.py": b"",
    "shop/jobs.py": b"import json\nimport pyspark\nimport fast\nfrom shop import tools\njob = None\n",
    "shop/tools.py": b"import deltalake\n",
    "shop-1.0.dist-info/entry_points.txt": b"[penstock.jobs]\nsales = shop.jobs:job\n",
}


class Corpus:
    """Makes artefacts that differ from a good one in one thing."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def make(self, deps: Files | None = None, code: Files | None = None, **about: Any) -> Path:
        folder = self.root / "artefact"
        parts = {}
        for name, files in (("deps", {**GOOD_DEPS, **(deps or {})}), ("code", {**GOOD_CODE, **(code or {})})):
            path = folder / f"{name}.tar.gz"
            digest = archive.pack({key: data for key, data in files.items() if data != b"GONE"}, path)
            parts[name] = {"file": path.name, "sha256": digest, "bytes": path.stat().st_size}
        entry = folder / "penstock_entry.py"
        entry.write_bytes(about.pop("entry_text", b"print()\n"))
        written = {
            "penstock": "0.1.0",
            "release": "emr-spark-8.1.0",
            "architecture": "x86_64",
            "python": "3.11",
            "entry": {"file": entry.name, "sha256": sha256(entry.read_bytes()).hexdigest(), "bytes": 8},
            "archives": parts,
            "packages": {},
            "jobs": ["sales"],
            "confs": 0,
            "files": {},
            **about,
        }
        manifest.write(Manifest.model_validate_json(json.dumps(written)), folder)
        return folder

    def with_member(self, member: tarfile.TarInfo, data: bytes = b"") -> Path:
        """A good artefact whose dependencies have one more member that `pack` would not make."""
        folder = self.make()
        path = folder / "deps.tar.gz"
        with tarfile.open(path) as before:
            members = [(one, before.extractfile(one).read()) for one in before]  # type: ignore[union-attr]
        with tarfile.open(path, "w:gz") as tar:
            for one, content in [*members, (member, data)]:
                tar.addfile(one, io.BytesIO(content))
        return self.again(folder)

    def again(self, folder: Path) -> Path:
        """Bring the manifest's hash of the dependencies up to date."""
        about = json.loads((folder / "manifest.json").read_text())
        about["archives"]["deps"]["sha256"] = archive.digest(folder / "deps.tar.gz")
        (folder / "manifest.json").write_text(json.dumps(about))
        return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus(tmp_path)


def test_a_good_one_passes(corpus: Corpus) -> None:
    assert preflight(corpus.make()) == []


def _link(corpus: Corpus) -> Path:
    member = tarfile.TarInfo("fast/lib.so.1")
    member.type, member.linkname = tarfile.SYMTYPE, "/opt/lib.so.1"
    return corpus.with_member(member)


def _outside(corpus: Corpus) -> Path:
    return corpus.with_member(tarfile.TarInfo("../../etc/profile"))


def _cut_off(corpus: Corpus) -> Path:
    folder = corpus.make()
    path = folder / "deps.tar.gz"
    path.write_bytes(path.read_bytes()[:-200])
    return corpus.again(folder)


def _changed(corpus: Corpus) -> Path:
    folder = corpus.make()
    archive.pack({**GOOD_DEPS, "fast/added.py": b""}, folder / "deps.tar.gz")
    return folder


def _gone(corpus: Corpus) -> Path:
    folder = corpus.make()
    (folder / "code.tar.gz").unlink()
    return folder


def _no_manifest(corpus: Corpus) -> Path:
    folder = corpus.make()
    (folder / "manifest.json").unlink()
    return folder


SO = "fast/_fast.cpython-311-x86_64-linux-gnu.so"
BROKEN: dict[str, tuple[str, Callable[[Corpus], Path]]] = {
    "compiled for another Python": (
        "wrong_python",
        lambda c: c.make({SO: b"GONE", "fast/_fast.cpython-312-x86_64-linux-gnu.so": elf()}),
    ),
    "a wheel for another Python": ("wrong_python", lambda c: c.make(wheel("slow", "cp39-cp39-manylinux2014_x86_64"))),
    "compiled for ARM": ("wrong_architecture", lambda c: c.make({SO: elf(machine=183)})),
    "a wheel for ARM": ("wrong_architecture", lambda c: c.make(wheel("slow", "cp311-cp311-manylinux2014_aarch64"))),
    "compiled for a newer glibc": ("wrong_libc", lambda c: c.make({SO: elf(glibc="2.38")})),
    "a wheel for Alpine": ("wrong_libc", lambda c: c.make(wheel("slow", "cp311-cp311-musllinux_1_2_x86_64"))),
    "a library that is not in it": ("library_missing", lambda c: c.make({SO: elf(needs="libarrow_flight.so.2600")})),
    "compiled for macOS": ("wrong_system", lambda c: c.make({"fast/_fast.so": b"\xcf\xfa\xed\xfe" + bytes(64)})),
    "a wheel for Windows": ("wrong_system", lambda c: c.make(wheel("slow", "cp311-cp311-win_amd64"))),
    "a wheel built at home": ("unportable_wheel", lambda c: c.make(wheel("slow", "cp311-cp311-linux_x86_64"))),
    "Spark in it": ("bundles_spark", lambda c: c.make(wheel("pyspark"))),
    "a requirement that is not there": ("requirement_missing", lambda c: c.make(wheel("slow", needs="missing>=2"))),
    "a module that is not there": ("module_missing", lambda c: c.make(code={"shop/tools.py": b"import missing\n"})),
    "a job that is not there": ("job_missing", lambda c: c.make(code={"shop/jobs.py": b"GONE"})),
    "a job that does not parse": ("job_syntax", lambda c: c.make(code={"shop/jobs.py": b"def (\n"})),
    "no job at all": (
        "no_jobs",
        lambda c: c.make(code={"shop-1.0.dist-info/entry_points.txt": b"[console_scripts]\nx = y:z\n"}),
    ),
    "an entry point that does not parse": ("entry_syntax", lambda c: c.make(entry_text=b"print(\n")),
    "an interpreter in it": ("moved_interpreter", lambda c: c.make({"pyvenv.cfg": b"home = /usr/bin\n"})),
    "a link": ("link", _link),
    "a path out of it": ("path_outside", _outside),
    "cut off": ("archive_damaged", _cut_off),
    "not what the manifest says": ("part_changed", _changed),
    "a part that is not there": ("part_missing", _gone),
    "no manifest": ("manifest", _no_manifest),
    "an unknown release": ("unknown_release", lambda c: c.make(release="emr-9.0.0")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_one_is_caught_by_name(case: str, corpus: Corpus) -> None:
    name, make = BROKEN[case]
    findings = preflight(make(corpus))
    assert {finding.name for finding in findings} == {name}
    assert not is_fine(findings)
    for finding in findings:
        assert finding.what
        assert finding.would
        assert finding.mend


def test_a_wheel_that_fits_by_one_of_its_tags_is_good(corpus: Corpus) -> None:
    deps = wheel("slow", "cp311-cp311-manylinux_2_38_x86_64\nTag: cp311-cp311-manylinux_2_17_x86_64")
    assert preflight(corpus.make(deps)) == []


class TestOrders:
    """What is told of a request before AWS sees it."""

    @pytest.fixture
    def order(self, corpus: Corpus, tmp_path: Path) -> Callable[..., set[str]]:
        about = manifest.read(corpus.make())

        def names(env: str = "emr-serverless", emr: str = "", spark: str = "", words: tuple[str, ...] = ()) -> set[str]:
            conf = tmp_path / "conf"
            conf.mkdir(exist_ok=True)
            (conf / "environment.yaml").write_text(
                "emr:\n  artefacts: s3://b/code\n  logs: s3://b/logs\n  architecture: x86_64\n"
                f"  role: arn:aws:iam::123456789012:role/r\n{emr}spark:\n  conf:\n    spark.x: y\n{spark}"
            )
            config = load(env, [conf], data="s3://b/raw", warehouse="s3://b/tables")
            settings = config.settings
            assert settings.emr is not None
            work = Work("sales 2010-12-01", "0" * 24, ("run", "sales", *words))
            order = Order(work, settings.emr, settings.release, about, 0, dict(settings.spark.conf))
            return {finding.name for finding in check_order(order)}

        return names

    @pytest.mark.parametrize("env", ["emr-serverless", "emr-ec2", "emr-eks"])
    def test_a_good_one_passes(self, order: Callable[..., set[str]], env: str) -> None:
        awkward = ("--set", 'q={"a": "b, c", "d": \'e\'}', "--set", "sql=select * from t where x = 'y z'", "ø€")
        assert order(env, words=awkward) == set()

    @pytest.mark.parametrize(
        ("name", "given"),
        [
            ("worker_size", {"emr": "  executor: {cores: 4, memory: 64g}\n"}),
            ("worker_size", {"emr": "  driver: {cores: 3, memory: 8g}\n"}),
            ("worker_size", {"emr": "  executor: {cores: 4, memory: 14g, disk: 500g}\n"}),
            ("capacity_too_small", {"emr": "  serverless: {maximum_vcpu: 4}\n"}),
            ("unknown_key", {"spark": "    spark.emr-serverless.executor.disc: 30g\n"}),
            ("not_sparks_key", {"spark": "    fs.s3a.endpoint: x\n"}),
            ("no_emrfs", {"spark": "    spark.hadoop.fs.s3.impl: com.amazon.ws.emr.hadoop.fs.EmrFileSystem\n"}),
            ("other_architecture", {"emr": "  serverless: {flex: true}\n", "arm": True}),
            ("step_too_long", {"env": "emr-ec2", "words": ("--set", "a=" + "x" * 11_000)}),
            ("client_mode", {"env": "emr-ec2", "spark": "    spark.submit.deployMode: client\n"}),
            ("control_character", {"words": ("--set", "a=b\x07")}),
            ("parameters_too_long", {"spark": f"    spark.long: {'x' * 103_000}\n"}),
        ],
    )
    def test_a_bad_one_is_caught_by_name(
        self, order: Callable[..., set[str]], name: str, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if given.pop("arm", False):
            monkeypatch.setenv("PENSTOCK__EMR__ARCHITECTURE", "arm64")
        found = order(**given)
        assert name in found
        assert found <= {name, "request_refused"}


@pytest.mark.parametrize(
    ("warehouse", "more", "names"),
    [
        ("s3://b/tables", "ledger: {table: penstock}\n", []),
        ("s3://b/tables", "", [("ledger_on_disk", "warning")]),
        ("/tables", "ledger: {table: penstock}\n", [("warehouse_on_disk", "error")]),
        ("/tables", "  endpoint_url: http://127.0.0.1:4\n", []),
    ],
)
def test_what_a_run_leaves_must_be_found_again(
    corpus: Corpus, tmp_path: Path, warehouse: str, more: str, names: list[tuple[str, str]]
) -> None:
    (tmp_path / "environment.yaml").write_text(f"emr:\n  artefacts: s3://b/code\n  logs: s3://b/logs\n{more}")
    settings = load("emr-serverless", [tmp_path], data="s3://b/raw", warehouse=warehouse).settings
    found = preflight(corpus.make(), settings=settings)
    assert [(finding.name, finding.level) for finding in found] == names


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / "deps.tar.gz"
    digest = archive.pack(GOOD_DEPS, cached)
    installed = dependencies.Installed(cached, digest, archive.digests(GOOD_DEPS))
    monkeypatch.setattr(dependencies, "install", lambda *_: installed)
    made = [package.package(tmp_path / name, release="emr-spark-8.1.0") for name in ("a", "b")]
    for name in ("penstock_entry.py", "code.tar.gz", "deps.tar.gz", "manifest.json"):
        assert (made[0].folder / name).read_bytes() == (made[1].folder / name).read_bytes()
    code = {name for name in made[0].manifest.files if name.startswith("code/")}
    assert {"code/penstock/cli/entry.py", "code/penstock/conf/base/nightly.yaml"} <= code
    assert "retail_lines" in made[0].manifest.jobs


def test_what_nothing_calls_is_taken_away_and_links_lead_nowhere(tmp_path: Path) -> None:
    """An installer's cache may be linked to what it installed: it is never written to."""
    cache, made = tmp_path / "cache", tmp_path / "made"
    files = {
        **wheel("pyarrow"),
        "pyarrow/libx.so.26": elf(symbols=b"names for debuggers"),
        "pyarrow/libx.so.26.0.1": elf(symbols=b"names for debuggers"),
        "pyarrow/tests/test_x.py": b"",
        "botocore/data/s3/2006-03-01/service-2.json.gz": b"",
        "botocore/data/polly/2016-06-10/service-2.json.gz": b"",
        "botocore/data/endpoints.json": b"{}",
        "pyarrow-1.0.dist-info/RECORD": b"pyarrow/libx.so.26,sha256=x,1\npyarrow/tests/test_x.py,sha256=x,1\n",
    }
    for name, data in files.items():
        for root in (cache, made):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(data)
        (made / name).hardlink_to(cache / name)
    slim.slim(made)
    left = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert set(files) - left == {
        "pyarrow/libx.so.26.0.1",
        "pyarrow/tests/test_x.py",
        "botocore/data/polly/2016-06-10/service-2.json.gz",
    }
    library = (made / "pyarrow/libx.so.26").read_bytes()
    whole = files["pyarrow/libx.so.26"]
    assert library == whole.replace(b"names for debuggers", bytes(19))
    assert library != whole
    assert needed(library) == ("libc.so.6",)
    assert "pyarrow/libx.so.26,sha256=" in (made / "pyarrow-1.0.dist-info/RECORD").read_text()
    assert {name: (cache / name).read_bytes() for name in files} == files
    assert slim.contents(made) == {"pyarrow": len(library)}


# On this machine's own Python, what an archive for it holds is enough: nothing else is on the path.
LOADS = """
import sys; sys.path.insert(0, sys.argv[1])
import boto3, deltalake, jinja2, numpy.linalg, numpy.random, pandas, psutil, pyarrow as pa, pydantic
import rich.traceback, typer, yaml
import pyarrow.compute, pyarrow.csv, pyarrow.dataset, pyarrow.fs, pyarrow.orc, pyarrow.parquet
numpy.linalg.inv(numpy.eye(3)); pyarrow.fs.S3FileSystem
for service in ("dynamodb", "s3", "secretsmanager", "sns", "sts"): boto3.client(service, region_name="eu-west-1")
deltalake.write_deltalake(sys.argv[2], pa.Table.from_pandas(pandas.DataFrame({"a": [1, 2]})))
assert deltalake.DeltaTable(sys.argv[2]).to_pyarrow_table().num_rows == 2
assert all(module.__file__.startswith(sys.argv[1]) for module in (boto3, deltalake, pandas, pa))
"""


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_a_real_one_is_made_for_either_machine_and_passes(tmp_path: Path, architecture: str, full: bool) -> None:
    made = package.package(tmp_path, release="emr-spark-8.1.0", architecture=architecture, full=full)  # type: ignore[arg-type]
    assert preflight(made.folder) == []
    size = sum(part.bytes for part in made.manifest.parts.values())
    print(f"{architecture}, full {full}: {size / 1e6:.1f} MB")
    assert size < 120e6
    assert set(made.manifest.sizes) == set(made.manifest.packages)
    assert {"pydantic", "deltalake"} <= set(made.manifest.packages)
    assert ({"pandas", "numpy", "pyarrow"} <= set(made.manifest.packages)) == full
    assert "pyspark" not in made.manifest.packages
    if full and (platform.machine(), sys.version_info[:2]) == (MACHINES[architecture], (3, 11)):  # type: ignore[index]
        folder = tmp_path / "unpacked"
        archive.unpack(tmp_path / "deps.tar.gz", folder)
        command = [sys.executable, "-I", "-S", "-c", LOADS, str(folder), str(tmp_path / "table")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
