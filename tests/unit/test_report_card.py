"""The failure card: every class, the place in the job's code, the evidence, and no secrets."""

from __future__ import annotations

import errno
import io
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from penstock.errors import FAILURE_CLASSES, FencedError, RefusedError, SchemaError
from penstock.report.card import Failure, classify, one_line, render_card
from penstock.report.masking import is_secret_name, mask

JOB = textwrap.dedent(
    '''
    """A job."""
    def transform(act):
        return act()
    def wrong():
        return {}["missing"]
    '''
).lstrip()


@pytest.fixture
def job(tmp_path: Path) -> ModuleType:
    path = tmp_path / "my_job.py"
    path.write_text(JOB)
    module = ModuleType("my_job")
    module.__file__ = str(path)
    exec(compile(JOB, str(path), "exec"), module.__dict__)
    return module


def spark_error(
    name: str, text: str, stack: str | None = None, *, module: str = "pyspark.errors.exceptions.captured"
) -> Exception:
    """An error that looks like one of Spark's, without Spark."""
    kind = type(name, (Exception,), {"__module__": module})
    error: Any = kind(text)
    if stack is not None:
        error._stackTrace = stack
    return error  # type: ignore[no-any-return]


def raised(error: BaseException) -> BaseException:
    """The error as a library would raise it: with a traceback that has nothing of the job."""
    with pytest.raises(type(error)) as caught:
        throw(error)
    return caught.value


def from_job(job: ModuleType, act: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - all kinds are wanted
        job.transform(act)
    return caught.value


def throw(error: BaseException) -> Any:
    raise error


JAVA = "An error occurred while calling o161.collectToPython.\n: org.apache.spark.SparkException: "
CASES = [
    (
        "input missing",
        "AnalysisException",
        "[PATH_NOT_FOUND] Path does not exist: file:/data/none/*.csv. SQLSTATE: 42K03",
        "file:/data/none/*.csv",
    ),
    (
        "malformed",
        "Py4JJavaError",
        JAVA + "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file file:///data/t.csv.gz.  "
        "SQLSTATE: KD001\n\tat x\n"
        "Caused by: java.io.EOFException: Unexpected end of input stream",
        "file:///data/t.csv.gz",
    ),
    (
        "malformed",
        "Py4JJavaError",
        JAVA + "[FAILED_READ_FILE.CANNOT_READ_FILE_FOOTER] Encountered error while reading file "
        "file:/data/bad.parquet. Could not read footer. \n",
        "file:/data/bad.parquet is not a Parquet",
    ),
    ("malformed", "Py4JJavaError", JAVA + "java.util.zip.ZipException: invalid code lengths set", "damaged"),
    (
        "schema",
        "Py4JJavaError",
        JAVA + "[FAILED_READ_FILE.PARQUET_COLUMN_DATA_TYPE_MISMATCH] Encountered error while reading file "
        "file:///data/p.parquet. Data type mismatches when "
        "reading Parquet column [id]. Expected Spark type string, actual Parquet type INT64. SQLSTATE: KD001",
        "file:///data/p.parquet",
    ),
    (
        "memory",
        "Py4JJavaError",
        JAVA + "Job aborted.\nCaused by: java.lang.OutOfMemoryError: Java heap space\n\tat x",
        "Java heap space",
    ),
    (
        "memory",
        "Py4JJavaError",
        JAVA + "ExecutorLostFailure (executor 1 exited) Reason: "
        "Container killed by YARN for exceeding memory limits. Exit code: 137",
        "killed",
    ),
    (
        "disk",
        "Py4JJavaError",
        JAVA + "Job aborted.\nCaused by: java.io.IOException: No space left on device",
        "disk is full",
    ),
    (
        "permission",
        "Py4JJavaError",
        JAVA + "x\nCaused by: java.io.FileNotFoundException: /data/a.csv (Permission denied)",
        "denied",
    ),
    ("permission", "Py4JJavaError", JAVA + "java.nio.file.AccessDeniedException: s3://b/k: Status Code: 403", "denied"),
    ("conflict", "CommitFailedError", "Failed to commit transaction: 1", "same table"),
    (
        "engine",
        "PySparkRuntimeError",
        "[JAVA_GATEWAY_EXITED] Java gateway process exited before sending its port number.",
        "Java did not start",
    ),
    ("engine", "Py4JNetworkError", "Answer from Java side is empty", "gone"),
    ("user code", "ArithmeticException", "[DIVIDE_BY_ZERO] Division by zero. SQLSTATE: 22012", "Division by zero"),
]


@pytest.mark.parametrize(("expected", "name", "text", "said"), CASES)
def test_what_spark_says_is_understood(expected: str, name: str, text: str, said: str) -> None:
    module = (
        "py4j.protocol"
        if name.startswith("Py4J")
        else "deltalake.exceptions"
        if name.startswith("Commit")
        else "pyspark.errors"
    )
    failure = classify(raised(spark_error(name, text, module=module)), [])
    assert (failure.failure_class, failure.place) == (expected, None)
    assert said in failure.message
    assert failure.failure_class in FAILURE_CLASSES


@pytest.mark.parametrize(
    ("expected", "error"),
    [
        ("memory", MemoryError()),
        ("disk", OSError(errno.ENOSPC, "No space left on device", "/w/x")),
        ("disk", OSError(errno.EDQUOT, "Disk quota exceeded")),
        ("permission", PermissionError(errno.EACCES, "Permission denied", "/w")),
        ("input missing", FileNotFoundError(errno.ENOENT, "No such file", "/data/x.csv")),
        ("engine", FileNotFoundError(errno.ENOENT, "No such file", "java")),
        ("engine", KeyboardInterrupt()),
        ("malformed", EOFError("Compressed file ended: Unexpected end of input stream")),
        ("engine", RuntimeError("something of the library")),
        ("schema", SchemaError("retail.raw lacks the column Country.", hint="Look.")),
        ("quality", RefusedError("12 rows break a rule.")),
        ("conflict", FencedError("A later attempt holds the claim.")),
    ],
)
def test_python_errors_are_understood(expected: str, error: BaseException) -> None:
    assert classify(raised(error), []).failure_class == expected


def test_our_own_errors_keep_their_words() -> None:
    error = SchemaError(
        "retail.raw lacks Country.",
        hint="Compare: penstock show retail_lines",
        evidence=["2010-12-01.csv: InvoiceNo,StockCode"],
    )
    assert classify(raised(error), []).to_dict() == {
        "class": "schema",
        "message": "retail.raw lacks Country.",
        "place": None,
        "evidence": ["2010-12-01.csv: InvoiceNo,StockCode"],
        "next": "Compare: penstock show retail_lines",
    }


def test_the_place_is_the_deepest_line_of_the_job(job: ModuleType) -> None:
    failure = classify(from_job(job, job.wrong), [str(job.__file__)], command="penstock run my_job --interval all")
    assert (failure.failure_class, failure.place) == ("user code", f"{job.__file__}:5")
    assert failure.message == "KeyError: 'missing'"
    assert failure.evidence[0] == 'my_job.py:5 return {}["missing"]'
    assert failure.next.endswith("penstock run my_job --interval all")


def test_a_module_is_found_by_its_name(job: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "my_job", job)
    assert classify(from_job(job, job.wrong), ["my_job"]).place == f"{job.__file__}:5"
    assert classify(from_job(job, job.wrong), ["no.such.module"]).place is None


def test_the_query_context_names_the_place(job: ModuleType) -> None:
    text = "[CAST_INVALID_INPUT] The value 'a' cannot be cast. SQLSTATE: 22018\n"
    text += f'== DataFrame ==\n"cast" was called from\n{job.__file__}:3\n'
    failure = classify(raised(spark_error("NumberFormatException", text)), [Path(str(job.__file__))])
    assert (failure.failure_class, failure.place) == ("user code", f"{job.__file__}:3")
    assert classify(raised(spark_error("NumberFormatException", text)), ["elsewhere.py"]).place is None


def test_the_worker_names_the_place_even_on_another_machine() -> None:
    text = (
        "\n  An exception was thrown from the Python worker. Please see the stack trace below.\n"
        "Traceback (most recent call last):\n"
        '  File "/mnt/deps/pyspark/daemon.py", line 99, in main\n    process()\n'
        '  File "/mnt/deps/shop_jobs/etl/lines.py", line 7, in f\n    return {}["No space left on device"]\n'
        "KeyError: 'No space left on device'\n"
    )
    failure = classify(
        raised(spark_error("PythonException", text, "org.apache.spark.SparkException: Job aborted\n\tat x")),
        ["shop_jobs.etl.lines"],
    )
    assert (failure.failure_class, failure.place) == ("user code", "/mnt/deps/shop_jobs/etl/lines.py:7")
    assert failure.message == "KeyError: 'No space left on device'"
    full = text.replace("KeyError: 'No space left on device'", "OSError: [Errno 28] No space left on device")
    assert classify(raised(spark_error("PythonException", full)), []).failure_class == "disk"


def test_an_analysis_error_in_the_job_is_the_jobs(job: ModuleType) -> None:
    error = spark_error(
        "AnalysisException",
        "[UNRESOLVED_COLUMN.WITH_SUGGESTION] A column with name `nope` cannot be resolved. SQLSTATE: 42703;\n'Project",
    )
    failure = classify(from_job(job, lambda: throw(error)), [str(job.__file__)])
    assert (failure.failure_class, failure.place) == ("user code", f"{job.__file__}:3")


def test_the_job_authors_words_do_not_decide_the_class(job: ModuleType) -> None:
    failure = classify(
        from_job(job, lambda: throw(ValueError("Permission denied: OutOfMemoryError"))), [str(job.__file__)]
    )
    assert failure.failure_class == "user code"


def test_causes_are_walked_even_when_they_are_hidden() -> None:
    java = JAVA + "x\nCaused by: java.io.IOException: No space left on device"

    def act() -> None:
        try:
            throw(spark_error("Py4JJavaError", java, module="py4j.protocol"))
        except Exception:  # noqa: BLE001 - as Spark does it
            raise spark_error("SparkException", "Job aborted.") from None

    with pytest.raises(Exception, match="aborted") as caught:
        act()
    failure = classify(caught.value, [])
    assert failure.failure_class == "disk"
    assert "java.io.IOException: No space left on device" in failure.evidence


def test_an_error_whose_text_cannot_be_had_is_still_classified() -> None:
    class Py4JJavaError(Exception):
        __module__ = "py4j.protocol"

        def __str__(self) -> str:
            raise ConnectionRefusedError("the JVM is gone")

    assert classify(raised(Py4JJavaError("Answer from Java side is empty")), []).failure_class == "engine"


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "jdbc:postgresql://h/db?user=me&password=hunter2",
        "postgresql://me:hunter2@host/db",
        "password: 'hunter2 with blanks'",
        '{"api_key": "hunter2"}',
        "fs.s3a.secret.key=hunter2",
        "fs.s3a.access.key=hunter2",
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "https://b/k?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2",
        "https://a.blob/x?sv=1&sig=hunter2%3D",
        "Authorization: Bearer hunter2hunter2",
        "token=hunter2",
    ],
)
def test_secrets_are_masked(secret: str, job: ModuleType) -> None:
    hidden = mask(f"failed at {secret} (line 3)")
    assert "hunter2" not in hidden
    assert "IOSFODNN7" not in hidden
    assert "***" in hidden
    assert hidden.startswith("failed at ")
    failure = classify(from_job(job, lambda: throw(ValueError(secret))), [str(job.__file__)])
    assert "hunter2" not in repr(failure)


def test_what_is_no_secret_stays() -> None:
    text = (
        "[UNRESOLVED_COLUMN] tokenized: 3; unit_price=4.25; 2010-12-01T05:00; s3://b/key/part-0; author=Anna; keys: a"
    )
    assert mask(text) == text
    assert not is_secret_name("customer_key_count")
    assert is_secret_name("fs.s3a.secret.key")


def test_the_card_on_a_terminal(job: ModuleType) -> None:
    out = io.StringIO()
    failure = Failure(
        "user code",
        "KeyError: '[bold]x'",
        place="jobs/a.py:5",
        evidence=("a.py:5 return x[0]",),
        next="penstock run a --interval all",
    )
    render_card(failure, Console(file=out, width=70))
    text = out.getvalue()
    for part in ("user code", "KeyError: '[bold]x'", "jobs/a.py:5", "return x[0]", "penstock run a"):
        assert part in text
    assert one_line(failure) == "user code: KeyError: '[bold]x' (jobs/a.py:5)"


def test_what_was_merely_being_handled_is_no_cause(job: ModuleType) -> None:
    def act() -> None:
        try:
            open("/no/such/cache")  # noqa: SIM115 - any missing file will do
        except FileNotFoundError:
            throw(ValueError("wrong"))

    failure = classify(from_job(job, act), [str(job.__file__)])
    assert (failure.failure_class, failure.message) == ("user code", "ValueError: wrong")


def test_evidence_does_not_repeat_the_message() -> None:
    message = "[DIVIDE_BY_ZERO] Division by zero. Use `try_divide` to tolerate divisor being 0. SQLSTATE: 22012"
    failure = classify(raised(spark_error("ArithmeticException", message)), [], command="penstock run x --interval all")
    assert failure.evidence == ()
    assert failure.next == "Mend the job's code, then run again: penstock run x --interval all"


def test_a_missing_input_advises_the_plan() -> None:
    error = FileNotFoundError(errno.ENOENT, "No such file", "/data/x.csv")
    assert classify(error, [], command="penstock run x --interval all").next.endswith("penstock plan x --interval all")
    assert classify(error, []).next == "See which paths are looked at."


@pytest.mark.timeout(60)
def test_an_error_that_quotes_ten_megabytes_does_not_hang() -> None:
    failure = classify(pa.ArrowInvalid(f"Malformed record: {'x' * 10_000_000}"), [])
    assert len(failure.message) < 1_000
