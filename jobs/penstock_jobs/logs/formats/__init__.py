"""The forms that log lines come in, in the order in which they are tried on a file: the narrow ones first."""

from __future__ import annotations

from penstock_jobs.logs.formats import (
    access,
    apache_error,
    aws,
    haproxy,
    json_lines,
    log4j,
    logfmt,
    nginx_error,
    postgres,
    proxifier,
    syslog,
    uwsgi,
    vpc,
    w3c,
)
from penstock_jobs.logs.formats.base import Format

FORMATS: tuple[Format, ...] = (
    aws.ALB,
    aws.ELB,
    aws.S3,
    access.FORMAT,
    apache_error.FORMAT,
    nginx_error.FORMAT,
    haproxy.FORMAT,
    vpc.FORMAT,
    w3c.ZEEK,
    w3c.W3C,
    json_lines.CLOUDTRAIL,
    json_lines.FORMAT,
    logfmt.FORMAT,
    uwsgi.FORMAT,
    postgres.FORMAT,
    proxifier.FORMAT,
    log4j.HDFS,
    log4j.SPARK,
    log4j.ZOOKEEPER,
    log4j.HADOOP,
    log4j.PYTHON,
    log4j.LOG4J,
    syslog.RFC5424,
    syslog.ISO,
    syslog.RFC3164,
)
