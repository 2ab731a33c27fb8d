"""VPC flow logs: the first line of a file names its fields; without one they are those of version 2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from penstock_jobs.logs.formats.base import Context, Format, Parsed, Parser, finished
from penstock_jobs.logs.times import epoch

# https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html
DEFAULT = (
    *("version", "account-id", "interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol"),
    *("packets", "bytes", "start", "end", "action", "log-status"),
)
COLUMNS = {
    "account-id": "cloud_account_id",
    "region": "cloud_region",
    "srcaddr": "source_address",
    "dstaddr": "destination_address",
    "srcport": "source_port",
    "dstport": "destination_port",
    "bytes": "network_bytes",
    "action": "event_action",
}
_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "ipv6-icmp", "47": "gre", "50": "esp"}
_HEADER = re.compile(r"[a-z][a-z0-9-]*( [a-z][a-z0-9-]*)+")
_ROW = re.compile(r"\d \d{12} eni-\w+ \S+ \S+ \S+ \S+ \S+ \S+ \S+ \d{10} \d{10} (ACCEPT|REJECT|-) (OK|NODATA|SKIPDATA)")
_KNOWN = {*DEFAULT, "vpc-id", "subnet-id", "instance-id", "tcp-flags", "type", "pkt-srcaddr", "pkt-dstaddr", "region"}


def _is_header(line: str) -> bool:
    return bool(_HEADER.fullmatch(line)) and len(_KNOWN.intersection(line.split())) >= 3


def _start(context: Context) -> Parser:
    fields = list(DEFAULT)

    def parse(records: Sequence[str]) -> Parsed:
        parsed = Parsed()
        found: list[dict[str, str]] = []
        for number, record in enumerate(records):
            if _is_header(record):
                fields[:] = record.split()
                parsed.dropped[number] = "header"
                continue
            values = record.split()
            if len(values) != len(fields):
                parsed.bad[number] = f"has {len(values)} values, and its header names {len(fields)}"
                continue
            parsed.rows.append(number)
            found.append(dict(zip(fields, values, strict=True)))
        names = list(dict.fromkeys(name for row in found for name in row))
        columns: dict[str, list[Any]] = {
            COLUMNS.get(name, name): [None if row.get(name) == "-" else row.get(name) for row in found]
            for name in names
        }
        columns["time"] = columns.pop("start", [None] * len(found))
        columns["network_transport"] = [
            _PROTOCOLS.get(p or "", p) for p in columns.pop("protocol", [None] * len(found))
        ]
        return finished(parsed, columns, context.tz, epoch, {})

    return parse


FORMAT = Format(
    "aws.vpcflow",
    "VPC flow logs (fields from the header)",
    "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 "
    "ACCEPT OK",
    lambda line: _is_header(line) or _ROW.fullmatch(line) is not None,
    _start,
    in_order=True,
)
