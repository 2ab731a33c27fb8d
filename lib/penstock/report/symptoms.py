"""What the texts of Spark, Java, Hadoop and Python errors mean: one table, first match wins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.errors import FailureClass


@dataclass(frozen=True)
class Symptom:
    """One way in which an engine tells of one kind of failure.

    Attributes:
        failure_class: The word on the card.
        pattern: What to look for in the error's text; the group `what` names the thing concerned.
        says: One sentence for a reader; `{what}` is replaced by the group of that name.
    """

    failure_class: FailureClass
    pattern: re.Pattern[str]
    says: str

    def sentence(self, match: re.Match[str]) -> str:
        """The sentence with the thing that the text names."""
        what = match.groupdict().get("what") or ""
        return self.says.format(what=what.strip().rstrip(".,;:")).replace("  ", " ")


def _symptom(failure_class: FailureClass, pattern: str, says: str) -> Symptom:
    return Symptom(failure_class, re.compile(pattern, re.IGNORECASE), says)


# The file that Spark was reading, as it names it in the same line.
_FILE = r"[^\n]*?reading file\s+(?P<what>[^\s,]+?)\.?\s"

# Machine first: a full disk or a lack of memory shows up inside errors that speak of files, queries and workers.
ENGINE_SYMPTOMS: tuple[Symptom, ...] = (
    _symptom(
        "disk",
        r"No space left on device|\bENOSPC\b|Disk quota exceeded|not enough space|disk is full",
        "The disk is full.",
    ),
    _symptom(
        "memory",
        r"OutOfMemoryError(?::\s*(?P<what>[\w ]+))?|GC overhead limit exceeded|Cannot allocate memory|"
        r"UNABLE_TO_ACQUIRE_MEMORY|SparkOutOfMemory",
        "The Java process ran out of memory. {what}",
    ),
    _symptom(
        "memory",
        r"exit (?:code|status)[: ]+(?:is )?137|exited with code 137|Container killed|"
        r"killed by YARN for exceeding|OOMKilled|"
        r"beyond the '?(?:PHYSICAL|VIRTUAL)'? memory limit",
        "A process was killed because it used more memory than it may.",
    ),
    _symptom(
        "memory",
        r"Total size of serialized results .{0,80}maxResultSize|maxResultSize",
        "Too much data was collected in the driver.",
    ),
    _symptom(
        "memory",
        r"Cannot broadcast the table (?:that is )?larger|Not enough memory to build and broadcast",
        "A table was too large to broadcast.",
    ),
    _symptom(
        "permission",
        r"AccessDenied(?:Exception)?\b[^\n]*|AccessControlException|Permission denied|Status Code: 403|\b403 Forbidden|"
        r"not authorized to perform|UnrecognizedClientException|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|"
        r"No (?:AWS )?Credentials|Unable to load credentials",
        "Access was denied.",
    ),
    _symptom(
        "input missing",
        r"\[PATH_NOT_FOUND\] Path does not exist: (?P<what>[^\n]+?)\.? SQLSTATE",
        "Nothing was found at {what}.",
    ),
    _symptom("input missing", r"Path does not exist: (?P<what>[^\s;]+)", "Nothing was found at {what}."),
    _symptom(
        "input missing",
        r"FAILED_READ_FILE\.FILE_NOT_EXIST" + _FILE,
        "{what} was there when the run began and is gone.",
    ),
    _symptom(
        "input missing",
        r"(?:java\.io\.|java\.nio\.file\.)(?:FileNotFoundException|NoSuchFileException): (?:File )?(?P<what>\S+)",
        "{what} does not exist.",
    ),
    _symptom(
        "input missing",
        r"NoSuchBucket|NoSuchKey|DELTA_(?:TABLE|PATH)_(?:NOT_FOUND|DOES_NOT_EXIST)|is not a Delta table",
        "A table, bucket or object does not exist.",
    ),
    _symptom(
        "schema",
        r"FAILED_READ_FILE\.PARQUET_COLUMN_DATA_TYPE_MISMATCH" + _FILE,
        "A column of {what} has another type than the schema declares.",
    ),
    _symptom(
        "schema",
        r"CANNOT_MERGE_SCHEMAS|DELTA_FAILED_TO_MERGE_FIELDS|DELTA_SCHEMA_CHANGED|"
        r"schema mismatch detected|SchemaMismatchError",
        "The schema is not the one that was declared.",
    ),
    _symptom(
        "malformed",
        r"FAILED_READ_FILE\.CANNOT_READ_FILE_FOOTER" + _FILE,
        "{what} is not a Parquet or ORC file, or is cut off.",
    ),
    _symptom("malformed", r"FAILED_READ_FILE" + _FILE, "{what} cannot be read."),
    _symptom("malformed", r"(?P<what>\S{1,500}) is not a Parquet file", "{what} is not a Parquet file."),
    _symptom(
        "malformed",
        r"EOFException|ZipException|Unexpected end of (?:input stream|ZLIB)|not in GZIP format|BadGzipFile|"
        r"incorrect (?:header|data) check|MalformedInputException|TextParsingException|"
        r"MALFORMED_CSV_RECORD|MALFORMED_RECORD_IN_PARSING",
        "An input file is damaged or of another format.",
    ),
    _symptom(
        "conflict",
        r"DELTA_CONCURRENT_\w+|Concurrent(?:Append|Modification|Delete\w*|Write|Transaction)Exception|CommitFailedError|"
        r"PreconditionFailed|ConditionalCheckFailed",
        "Somebody else changed the same table at the same time.",
    ),
    _symptom(
        "engine",
        r"JAVA_GATEWAY_EXITED|Java gateway process exited|JAVA_HOME is not set|"
        r"Unable to locate a Java Runtime|UnsupportedClassVersionError",
        "Java did not start.",
    ),
    _symptom(
        "engine",
        r"Answer from Java side is empty|Error while sending or receiving|"
        r"An error occurred while trying to connect to the Java server|Py4JNetworkError|"
        r"SparkContext (?:was|has been) (?:shut ?down|stopped)|"
        r"Cannot call methods on a stopped SparkContext|ExecutorLostFailure",
        "The Java process under Spark is gone.",
    ),
    _symptom(
        "engine",
        r"native zStandard library not available",
        "This Spark reads no .zst files: 3.5 needs Hadoop's native library for it, which EMR has and PySpark has not.",
    ),
)

# Faults of the query itself: Spark names them, and they are the job author's to mend.
QUERY_FAULT = re.compile(
    r"\[(?:UNRESOLVED_|CAST_|DIVIDE_BY_ZERO|ARITHMETIC_OVERFLOW|DATATYPE_MISMATCH|INVALID_|AMBIGUOUS_|"
    r"MISSING_|UNSUPPORTED_|USER_RAISED_|"
    r"NUMERIC_|WRONG_NUM_ARGS|PARSE_SYNTAX|UDF_|CANNOT_PARSE|COLUMN_|FIELD_NOT_FOUND|GROUPING_|NON_LAST|NESTED_AGGREGATE|"
    r"NOT_NULL_|"
    r"TABLE_OR_VIEW|NUM_COLUMNS|DUPLICATE|NOT_A_|NOT_COLUMN|NOT_ITERABLE|CANNOT_|SCALAR_SUBQUERY|REMAINDER_BY_ZERO|MAP_KEY|NULL_MAP)"
)
