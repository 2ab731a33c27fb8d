"""Hides what looks like a key, a password or a token, before text reaches a page, a file or a terminal."""

from __future__ import annotations

import re

HIDDEN = "***"

_NAME = (
    r"(?:[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|credential|signature|access[_.-]?key|api[_.-]?key|private[_.-]?key|"
    r"account[_.-]?key|(?:security|session|access|auth|refresh|id)[_.-]?token|(?<![a-z])token)(?![a-rt-z])[\w.-]*)"
)
_SECRET_NAME = re.compile(rf"\A{_NAME}\Z", re.IGNORECASE)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"\b(AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b"), rf"\1{HIDDEN}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"), HIDDEN),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@", re.IGNORECASE), rf"\1:{HIDDEN}@"),
    (
        re.compile(r"([?&;](?:sig|signature|x-amz-[\w-]+|se|sp|sv|awsaccesskeyid)=)[^&\s\"'<>]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(rf"(?<![\w.-])({_NAME}[\"']?\s*[=:]\s*)\"[^\"\n]*\"", re.IGNORECASE), rf'\1"{HIDDEN}"'),
    (re.compile(rf"(?<![\w.-])({_NAME}[\"']?\s*[=:]\s*)'[^'\n]*'", re.IGNORECASE), rf"\1'{HIDDEN}'"),
    (re.compile(rf"(?<![\w.-])({_NAME}[\"']?\s*[=:]\s*)[^\s\"',;&)}}\]]+", re.IGNORECASE), rf"\1{HIDDEN}"),
)
# How Spark, Java, Python and Arrow quote a value that they cannot take.
_VALUES = (
    re.compile(r"(?<=[Vv]alue ).+?(?= of the type\b| of type\b| \(|, cannot | cannot | out of range)"),
    re.compile(r"(?<=Text )'.*?'(?= could not be parsed)"),
    re.compile(r"(?<=with base 10: ).+"),
    re.compile(r"(?<=could not convert string to float: ).+"),
    re.compile(r"(?<=Could not convert ).+?(?= with type)"),
    re.compile(r"(?<=Failed to parse string: )'.*?'"),
    re.compile(r"(?<=does not match format )'.*?'|(?<=time data )'.*?'(?= does not match)"),
    re.compile(r"(?<=Invalid isoformat string: ).+"),
    re.compile(r"(?<=Malformed records are detected in record parsing: ).+"),
)


def without_values(text: str) -> str:
    r"""An error's text without the values of rows that it quotes, which may be somebody's.

    >>> without_values("[CAST_INVALID_INPUT] The value 'Jane' of the type \"STRING\" cannot be cast to \"BIGINT\"")
    '[CAST_INVALID_INPUT] The value *** of the type "STRING" cannot be cast to "BIGINT"'
    >>> without_values("ValueError: invalid literal for int() with base 10: 'Jane'")
    'ValueError: invalid literal for int() with base 10: ***'
    """
    for pattern in _VALUES:
        text = pattern.sub(HIDDEN, text)
    return text


def mask(text: str) -> str:
    """The text without its secrets.

    >>> mask("login failed: password=hunter2 at s3://AKIAIOSFODNN7EXAMPLE")
    'login failed: password=*** at s3://AKIA***'
    >>> mask("https://b.example/f?X-Amz-Signature=abc123&part=1")
    'https://b.example/f?X-Amz-Signature=***&part=1'
    """
    for pattern, hidden in _RULES:
        text = pattern.sub(hidden, text)
    return text


def is_secret_name(name: str) -> bool:
    """Whether a value under this name should not be shown.

    >>> is_secret_name("jdbc_password"), is_secret_name("min_support")
    (True, False)
    """
    return bool(_SECRET_NAME.match(name))
