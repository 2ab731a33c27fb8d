"""What is known of EMR's releases and limits, for everything that is checked before AWS is asked.

Sources: the Amazon EMR Release Guide (emr-spark-8.1.0, emr-7.14.0), the EMR Serverless User Guide (worker sizes, jobs),
and the service models in botocore (lengths). Read in November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.config.emr import Architecture
from penstock.errors import ConfigurationError, did_you_mean


@dataclass(frozen=True)
class Image:
    """What a release's machines and images hold, as far as an archive of dependencies depends on it.

    Attributes:
        label: The release.
        python: The Python that we run on, as `3.11`.
        pythons: All that its PySpark can be told to use.
        glibc: Of Amazon Linux 2023; a wheel for a later one does not load.
        delta_jars: Where Delta's jars lie. (For 8.x the names are those of 7.x: AWS documents no others.)
    """

    label: str
    python: str
    pythons: tuple[str, ...]
    glibc: tuple[int, int] = (2, 34)
    delta_jars: tuple[str, ...] = (
        "/usr/share/aws/delta/lib/delta-spark.jar",
        "/usr/share/aws/delta/lib/delta-storage.jar",
    )

    @property
    def abi(self) -> str:
        """The tag of wheels compiled for its Python.

        >>> image_of("emr-spark-8.1.0").abi
        'cp311'
        """
        return "cp" + self.python.replace(".", "")


IMAGES: Mapping[str, Image] = {
    "emr-spark-8.1.0": Image("emr-spark-8.1.0", "3.11", ("3.11", "3.13")),
    "emr-7.14.0": Image("emr-7.14.0", "3.11", ("3.9", "3.11")),
}

# In every image; beside it another one would be two Sparks in one process.
SPARKS_OWN = frozenset({"pyspark", "py4j"})
# Preinstalled on EMR Serverless and EKS; on EC2 that is not documented for Python 3.11.
PREINSTALLED = frozenset({"numpy", "pandas", "pyarrow", "python-dateutil", "pytz", "tzdata", "six"})

MACHINES: Mapping[Architecture, str] = {"x86_64": "x86_64", "arm64": "aarch64"}
# e_machine of the ELF header.
ELF_MACHINES = {62: "x86_64", 183: "aarch64", 3: "i386", 40: "arm"}

STEP_CHARACTERS = 10_240
EKS_ENTRY_CHARACTERS = 256
SERVERLESS_ENTRY_CHARACTERS = 4_096
PARAMETER_CHARACTERS = 102_400
POLICY_CHARACTERS = 2_048
ARCHIVE_MEGABYTES = 120
TOKEN_CHARACTERS = 64

# vCPU to least, most and step of memory in GB.
SERVERLESS_MEMORY: Mapping[int, tuple[int, int, int]] = {
    1: (2, 8, 1),
    2: (4, 16, 1),
    4: (8, 30, 1),
    8: (16, 60, 4),
    16: (32, 120, 8),
}
SERVERLESS_LARGEST = (32, (60, 120, 244))
SERVERLESS_DISK = (20, 200)
SERVERLESS_SHUFFLE_DISK = (20, 2_000)

# Spark's own overhead beside the heap (spark.*.memoryOverheadFactor), at least 384 MiB.
OVERHEAD = 0.1
OVERHEAD_LEAST_GB = 0.375

SERVERLESS_KEYS = frozenset(
    {
        "spark.emr-serverless.driver.disk",
        "spark.emr-serverless.driver.disk.type",
        "spark.emr-serverless.executor.disk",
        "spark.emr-serverless.executor.disk.type",
        "spark.emr-serverless.allocation.batch.size",
        "spark.emr-serverless.scalingProfile",
        "spark.emr-serverless.memoryOverheadFactor",
        "spark.aws.serverlessStorage.enabled",
    }
)


def image_of(label: str) -> Image:
    """What is known of a release's machines.

    Raises:
        ConfigurationError: Nothing is.

    >>> image_of("8.1")
    Traceback (most recent call last):
    ...
    penstock.errors.ConfigurationError: Nothing is known of EMR release 8.1. Legal: emr-7.14.0, emr-spark-8.1.0.
    """
    try:
        return IMAGES[label]
    except KeyError:
        raise ConfigurationError(
            f"Nothing is known of EMR release {label}.", hint=did_you_mean(label, IMAGES)
        ) from None


def gigabytes(size: str) -> int:
    """The number in `14g`."""
    return int(size.removesuffix("g"))


def billed_memory(heap_gb: float) -> float:
    """What a worker takes with that heap, in GB: Spark adds its overhead.

    >>> billed_memory(14), billed_memory(2)
    (15.4, 2.375)
    """
    return heap_gb + max(heap_gb * OVERHEAD, OVERHEAD_LEAST_GB)


def worker_problem(cores: int, heap_gb: int, disk_gb: int, *, shuffle_optimized: bool) -> str | None:
    """Why EMR Serverless has no worker of that size, or None where it has.

    >>> worker_problem(4, 14, 20, shuffle_optimized=False)
    >>> worker_problem(4, 64, 20, shuffle_optimized=False)
    '4 vCPU take 8 to 30 GB, and 64 GB of heap are 70.4 GB with the overhead'
    >>> worker_problem(3, 8, 20, shuffle_optimized=False)
    'there is no worker of 3 vCPU: 1, 2, 4, 8, 16 and 32 there are'
    """
    memory = billed_memory(heap_gb)
    if cores == SERVERLESS_LARGEST[0]:
        if memory > SERVERLESS_LARGEST[1][-1]:
            return f"32 vCPU take up to 244 GB, and {heap_gb} GB of heap are {memory:g} GB with the overhead"
    elif cores not in SERVERLESS_MEMORY:
        return f"there is no worker of {cores} vCPU: 1, 2, 4, 8, 16 and 32 there are"
    else:
        least, most, _ = SERVERLESS_MEMORY[cores]
        if memory > most:
            told = f"{heap_gb} GB of heap are {memory:g} GB with the overhead"
            return f"{cores} vCPU take {least} to {most} GB, and {told}"
    low, high = SERVERLESS_SHUFFLE_DISK if shuffle_optimized else SERVERLESS_DISK
    if not low <= disk_gb <= high:
        return f"a disk is {low} to {high} GB, not {disk_gb}"
    return None
