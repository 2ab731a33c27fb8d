"""PostgreSQL's log: date with zone, [pid], severity; statements may go on over many lines."""

from __future__ import annotations

import re

from penstock_jobs.logs.formats.base import Format, by_pattern
from penstock_jobs.logs.times import iso

FORMAT: Format = by_pattern(
    "postgresql.log",
    "PostgreSQL (log_line_prefix with time and pid)",
    "2025-08-13 01:45:01.123 UTC [12345] LOG:  database system is ready to accept connections",
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [A-Z]{2,5}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [+-]\d\d) "
    r"\[(?P<process_pid>\d+)\](?: ?(?P<user_name>[\w-]+)@(?P<database>[\w-]+))? (?P<log_level>[A-Z0-9]+):  "
    r"?(?P<message>.*)",
    time=iso,
    goes_on=re.compile(r"(?!\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"),
)
