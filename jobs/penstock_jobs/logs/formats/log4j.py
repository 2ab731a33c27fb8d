"""Logs of Java programs as log4j and logback write them: Hadoop, YARN, Spark, ZooKeeper and their kin."""

from __future__ import annotations

import re

from penstock_jobs.logs.formats.base import Format, Values, by_pattern
from penstock_jobs.logs.times import iso, plain, short

# What follows a record and is none: frames, causes, the banners of Hadoop's start and end, what is set in or empty.
GOES_ON = re.compile(
    r"\s|$|Caused by: |Suppressed: |\.\.\. \d+ |Traceback |(?:[\w$]+\.)+[\w$]*(?:Exception|Error|Throwable)\b"
    r"|<[A-Za-z/!?]|Exception in thread |/\*{3}|\*{3}|STARTUP_MSG|SHUTDOWN_MSG"
)
LEVEL = r"(?P<log_level>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL|SEVERE|CONFIG|FINER?|FINEST)"
_ISO = r"(?P<time>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,:]\d{1,9})?(?: ?(?:Z|[+-]\d\d:?\d\d))?)"


def _stripped(columns: dict[str, Values]) -> None:
    for name in ("process_thread_name", "log_logger"):
        if name in columns:
            columns[name] = [value.strip() if value else None for value in columns[name]]


HADOOP: Format = by_pattern(
    "hadoop",
    "Hadoop, HDFS, YARN (log4j: date, level, [thread], class)",
    "2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.mapreduce.v2.app.MRAppMaster: Created MRAppMaster",
    rf"{_ISO} +{LEVEL} +(?:\[(?P<process_thread_name>.*?)\] +)?(?P<log_logger>[\w.$-]+)(?: \([^()]*\))?: "
    rf"?(?P<message>.*)",
    time=iso,
    finish=_stripped,
    goes_on=GOES_ON,
)
SPARK: Format = by_pattern(
    "spark",
    "Spark (log4j: short date, level, class)",
    "17/06/09 20:10:40 INFO executor.CoarseGrainedExecutorBackend: Registered signal handlers for [TERM, HUP, INT]",
    rf"(?P<time>\d\d/\d\d/\d\d \d\d:\d\d:\d\d) +{LEVEL} +(?P<log_logger>[\w.$-]+): ?(?P<message>.*)",
    time=short,
    goes_on=GOES_ON,
)
HDFS: Format = by_pattern(
    "hdfs",
    "HDFS data node and name node of old (date and time as digits)",
    "081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_38865049064139660 "
    "terminating",
    rf"(?P<time>\d{{6}} \d{{6}}) (?P<process_pid>\d+) {LEVEL} (?P<log_logger>[\w.$-]+): ?(?P<message>.*)",
    time=plain,
    goes_on=GOES_ON,
)
ZOOKEEPER: Format = by_pattern(
    "zookeeper",
    "ZooKeeper (log4j: date, level, [thread:class@line])",
    "2015-07-29 17:41:44,747 - INFO  [QuorumPeer[myid=1]/0:0:0:0:0:0:0:0:2181:FastLeaderElection@774] - Notification",
    rf"{_ISO} - {LEVEL} +\[(?P<process_thread_name>.*):(?P<log_logger>[\w.$]*@-?\w+)\] - ?(?P<message>.*)",
    time=iso,
    finish=_stripped,
    goes_on=GOES_ON,
)
PYTHON: Format = by_pattern(
    "python",
    "Python's logging and Airflow (date, logger or place, level)",
    "2026-01-13 00:00:01,123 - shop.till - ERROR - cannot open the till",
    rf"\[?{_ISO}\]? (?:- (?P<log_logger>[\w.$-]+) -|\{{(?P<origin>[^}}]*)\}}) {LEVEL} - ?(?P<message>.*)",
    time=iso,
    goes_on=GOES_ON,
)
LOG4J: Format = by_pattern(
    "log4j",
    "Java programs (logback, Spring Boot): date, then level, thread and logger in any of the usual places",
    "2026-01-13 00:00:01,123 [main] ERROR com.example.Shop - cannot open the till",
    rf"\[?{_ISO}\]?(?: [A-Z]{{3,4}})?(?: -)?(?::| +)(?:\[(?P<process_thread_name>[^\]]*)\] *)?"
    rf"[\[(]?{LEVEL}[\])]?:?(?: +(?P<process_pid>\d+) ---)?(?: +\[(?P<thread>[^\]]*)\])?"
    r"(?: +(?P<log_logger>[\w.$/-]+) *(?: -|:|\|)(?= |$))?(?: +|:|$)(?:- )?(?P<message>.*)",
    time=iso,
    goes_on=GOES_ON,
)
