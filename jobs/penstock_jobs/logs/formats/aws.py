"""Logs of AWS services that have one line a request: ELB classic, ALB, S3 server access."""

from __future__ import annotations

from penstock_jobs.logs.formats.base import Format, Values, by_pattern, nanoseconds, split_request
from penstock_jobs.logs.times import clf, iso

_STAMP = r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z)"
_PAIR = (
    r"(?P<source_address>[\w.:-]+):(?P<source_port>\d+) "
    r"(?:(?P<destination_address>[\w.:-]+):(?P<destination_port>\d+)|-)"
)
_TIMES = r"(?P<request_time>-?[\d.]+) (?P<target_time>-?[\d.]+) (?P<response_time>-?[\d.]+)"
# https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html
ELB_PATTERN = (
    rf"{_STAMP} (?P<load_balancer>\S+) {_PAIR} {_TIMES} (?P<http_response_status_code>\d{{3}}|-) "
    r"(?P<target_status_code>\d{3}|-) (?P<received_bytes>\d+) (?P<http_response_body_bytes>\d+) "
    r'"(?P<request>(?:[^"\\]|\\.)*?) ?"(?: "(?P<user_agent_original>(?:[^"\\]|\\.)*)" (?P<tls_cipher>\S+) '
    r"(?P<tls_version>\S+))?"
)
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
ALB_PATTERN = (
    rf"(?P<network_transport>http|https|h2|grpcs|ws|wss) {_STAMP} (?P<load_balancer>\S+) {_PAIR} {_TIMES} "
    r"(?P<http_response_status_code>\d{3}|-) (?P<target_status_code>\d{3}|-) (?P<received_bytes>\d+) "
    r'(?P<http_response_body_bytes>\d+) "(?P<request>(?:[^"\\]|\\.)*?) ?" "(?P<user_agent_original>(?:[^"\\]|\\.)*)" '
    r'(?P<tls_cipher>\S+) (?P<tls_version>\S+) (?P<target_group>\S+) "(?P<trace_id>[^"]*)"(?P<rest>.*)'
)
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
S3_PATTERN = (
    r"(?P<bucket_owner>\S+) (?P<bucket>\S+) \[(?P<time>[^\]]+)\] (?P<source_address>\S+) (?P<user_name>\S+) "
    r"(?P<request_id>\S+) (?P<event_action>(?:REST|SOAP|WEBSITE|BATCH|S3)\.\S+) (?P<key>\S+) "
    r'(?:"(?P<request>(?:[^"\\]|\\.)*)"|-) (?P<http_response_status_code>\d{3}|-) (?P<error_code>\S+) '
    r"(?P<http_response_body_bytes>\d+|-) (?P<object_size>\d+|-) (?P<total_time>\d+|-) (?P<turn_around_time>\d+|-) "
    r'"?(?P<http_request_referrer>(?:[^"\\]|\\.)*?)"? "?(?P<user_agent_original>(?:[^"\\]|\\.)*?)"? (?P<rest>\S+.*)'
)


def _balanced(columns: dict[str, Values]) -> None:
    """The three parts of the time, in seconds, and -1 where the target did not answer."""
    split_request(columns)
    parts = [nanoseconds(columns[name], 1) for name in ("request_time", "target_time", "response_time")]
    columns["event_duration"] = [None if None in row else sum(row) for row in zip(*parts, strict=True)]
    if "rest" in columns:
        columns["rest"] = [text.strip() if text else None for text in columns["rest"]]


def _stored(columns: dict[str, Values]) -> None:
    split_request(columns)
    columns["event_duration"] = nanoseconds(columns.pop("total_time"), 0.001)


ELB: Format = by_pattern(
    "aws.elb",
    "ELB classic access log",
    "2026-01-13T00:00:01.039000Z my-elb 192.0.2.7:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 200 0 29 "
    '"GET http://www.example.com:80/ HTTP/1.1" "curl/8.1" - -',
    ELB_PATTERN,
    time=iso,
    finish=_balanced,
)
ALB: Format = by_pattern(
    "aws.alb",
    "Application Load Balancer access log",
    "http 2026-01-13T00:00:01.186641Z app/my-alb/50dc6c495c0c9188 192.0.2.7:2817 10.0.0.1:80 0.000 0.001 0.000 "
    "200 200 34 "
    '366 "GET http://www.example.com:80/ HTTP/1.1" "curl/8.1" - - arn:aws:elasticloadbalancing:x '
    '"Root=1-58337262" "-" "-" 0',
    ALB_PATTERN,
    time=iso,
    finish=_balanced,
)
S3: Format = by_pattern(
    "aws.s3access",
    "S3 server access log",
    "79a5 my-bucket [13/Jan/2026:00:00:38 +0000] 192.0.2.3 79a5 3E57427F3EXAMPLE REST.GET.VERSIONING - "
    '"GET /my-bucket?versioning HTTP/1.1" 200 - 113 - 7 - "-" "S3Console/0.4" - '
    "s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHf SigV4",
    S3_PATTERN,
    time=clf,
    finish=_stored,
)
