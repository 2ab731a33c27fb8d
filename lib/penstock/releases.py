"""The EMR releases that Penstock knows, and the versions that each one fixes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.errors import ConfigurationError, did_you_mean

DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"


@dataclass(frozen=True)
class Release:
    """One EMR release label and what a local run must use to behave like it.

    Attributes:
        label: As AWS writes it, for example `emr-spark-8.1.0`.
        spark: Spark's major and minor version, as `4.1`.
        pyspark: The open-source PySpark that stands for it on a laptop.
        scala: Scala's binary version, part of the names of jars.
        delta_jars: The Maven coordinates that Delta needs, nothing more (docs/install.md says why only these).
        python: The Python that EMR's Spark runs by default.
        java: The major versions of Java that its Spark runs on, the default first.
        more_jars: The coordinates of what only some environments need, by what it is for: `s3`, `postgresql`.
    """

    label: str
    spark: str
    pyspark: str
    scala: str
    delta_jars: tuple[str, ...]
    python: str
    java: tuple[int, ...]
    more_jars: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


# S3A as Hadoop's own module has it, with the parts of the AWS SDK that it needs: 16 MB in place of 641.
_SDK = tuple(
    f"software.amazon.awssdk:{part}:2.29.52"
    for part in ("s3", "s3-transfer-manager", "sts", "apache-client", "netty-nio-client")
)
_POSTGRESQL = ("org.postgresql:postgresql:42.7.7",)

RELEASES: dict[str, Release] = {
    release.label: release
    for release in (
        Release(
            label="emr-spark-8.1.0",
            spark="4.1",
            pyspark="4.1.1",
            scala="2.13",
            delta_jars=("io.delta:delta-spark_4.1_2.13:4.2.0", "io.delta:delta-storage:4.2.0"),
            python="3.11",
            java=(17, 21),
            more_jars={"s3": ("org.apache.hadoop:hadoop-aws:3.4.2", *_SDK), "postgresql": _POSTGRESQL},
        ),
        Release(
            label="emr-7.14.0",
            spark="3.5",
            pyspark="3.5.8",
            scala="2.12",
            # EMR carries 3.3.2, whose open-source build cannot replace tables on Spark 3.5.8; 3.3.3 mends that.
            delta_jars=("io.delta:delta-spark_2.12:3.3.3", "io.delta:delta-storage:3.3.3"),
            python="3.11",
            java=(17, 11, 8),
            more_jars={"postgresql": _POSTGRESQL},
        ),
    )
}
DEFAULT_RELEASE = "emr-spark-8.1.0"


def get_release(label: str) -> Release:
    """The release of that label.

    Raises:
        ConfigurationError: For a label that is not in the table; names the nearest one.

    >>> get_release("emr-spark-8.1.0").spark
    '4.1'
    >>> get_release("emr-spark-8.1")
    Traceback (most recent call last):
    ...
    penstock.errors.ConfigurationError: Unknown EMR release emr-spark-8.1. Did you mean emr-spark-8.1.0? ...
    """
    try:
        return RELEASES[label]
    except KeyError:
        raise ConfigurationError(f"Unknown EMR release {label}.", hint=did_you_mean(label, RELEASES)) from None
