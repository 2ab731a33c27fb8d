"""Secrets come from where a reference says, and no message repeats one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from penstock.errors import ConfigurationError
from penstock.secrets import is_reference, read_secret

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "eu-west-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with mock_aws():
        yield boto3.client("secretsmanager")


def test_each_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, aws: Any) -> None:
    monkeypatch.setenv("SHOP_KEY", SECRET)
    (tmp_path / "key").write_text(SECRET + "\n")
    aws.create_secret(Name="shop/key", SecretString=SECRET)
    aws.create_secret(Name="shop/database", SecretString=json.dumps({"user": "ada", "password": SECRET, "port": 5432}))
    aws.create_secret(Name="shop/bytes", SecretBinary=b"\x00\xff")
    for reference in ("env:SHOP_KEY", f"file:{tmp_path}/key", "aws:shop/key", "aws:shop/database#password"):
        assert is_reference(reference)
        assert read_secret(reference) == SECRET.encode(), reference
    assert read_secret("aws:shop/database#port") == b"5432"
    assert read_secret("aws:shop/bytes") == b"\x00\xff"


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (SECRET, "The password is given by reference, and this is none"),
        ("http:elsewhere", "by reference"),
        ("env:", "by reference"),
        ("env:NO_SUCH_VARIABLE", "no variable NO_SUCH_VARIABLE"),
        ("file:/no/such/file", "cannot be read: /no/such/file"),
        ("aws:no/such", "cannot be read from AWS Secrets Manager: no/such"),
        ("aws:shop/key#password", "no JSON object with the key password"),
        ("aws:shop/list#0", "no JSON object with the key 0"),
    ],
)
def test_what_is_not_there(aws: Any, reference: str, told: str) -> None:
    aws.create_secret(Name="shop/key", SecretString=SECRET)
    aws.create_secret(Name="shop/list", SecretString=json.dumps([SECRET]))
    with pytest.raises(ConfigurationError, match=told) as caught:
        read_secret(reference, "The password")
    shown = f"{caught.value} {caught.value.hint} {caught.value.__cause__} {caught.value.__context__ and ''}"
    assert SECRET not in shown
