"""Speaks AWS's protocols from botocore's service models: requests to operations and parameters, answers to JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

from penstock.emr.validate import service_model, shape_problems

# The name in the scope of a request's signature, to botocore's name of the service.
SCOPES = {"elasticmapreduce": "emr", "emr-serverless": "emr-serverless", "emr-containers": "emr-containers"}


class AwsError(Exception):
    """An answer that is an error in AWS's own shape."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


@dataclass(frozen=True)
class Asked:
    """A request as it came.

    Attributes:
        method: Of HTTP.
        path: Still quoted: an ARN in it has slashes of its own.
        query: The part after the question mark.
        headers: With names in lower case.
        body: As it came.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False, default=b"")

    @property
    def scope(self) -> tuple[str, str]:
        """Region and service that it was signed for; empty where it was not."""
        found = re.search(r"Credential=[^/]*/[^/]*/([^/]+)/([^/]+)/aws4_request", self.headers.get("authorization", ""))
        return (found[1], found[2]) if found else ("", "")


def understood(service: str, asked: Asked) -> tuple[str, dict[str, Any]]:
    """The operation and its parameters.

    Raises:
        AwsError: There is no such operation, or the parameters do not fit it.
    """
    model = service_model(service)
    if model.metadata["protocol"] == "json":
        operation = asked.headers.get("x-amz-target", "").rpartition(".")[2]
        if operation not in model.operation_names:
            raise AwsError("UnknownOperationException", f"There is no operation {operation or '(none)'}.")
        raw: dict[str, Any] = _json(asked.body)
    else:
        operation, raw = _routed(model, asked)
    shape = model.operation_model(operation).input_shape
    params = _typed(shape, raw) if shape is not None else raw
    if found := shape_problems(shape, params):
        raise AwsError("ValidationException", "; ".join(found))
    return operation, params


def rendered(service: str, operation: str, result: Mapping[str, Any] | None) -> bytes:
    """The answer as JSON: what the model of the output names, and nothing else."""
    shape = service_model(service).operation_model(operation).output_shape
    return json.dumps(_plain(shape, result or {}) if shape is not None else {}).encode()


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise AwsError("SerializationException", "The body is not JSON.") from None
    if not isinstance(value, dict):
        raise AwsError("SerializationException", "The body is no JSON object.")
    return value


def _routed(model: Any, asked: Asked) -> tuple[str, dict[str, Any]]:
    """REST: the operation by method and path; parameters from path, query and body."""
    for name in model.operation_names:
        operation = model.operation_model(name)
        template = operation.http["requestUri"].partition("?")[0]
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
        match = re.fullmatch(pattern, asked.path)
        if operation.http["method"] != asked.method or not match:
            continue
        body = _json(asked.body)
        shape = operation.input_shape
        if shape is None:
            return name, body
        query = parse_qs(asked.query, keep_blank_values=True)
        for member, about in shape.members.items():
            where = about.serialization
            wire = where.get("name", member)
            if where.get("location") == "uri":
                body[member] = unquote(match[wire])
            elif where.get("location") == "querystring" and wire in query:
                values = query.pop(wire)
                body[member] = values if about.type_name == "list" else _scalar(about.type_name, values[0])
        return name, body
    raise AwsError("UnknownOperationException", f"There is no operation for {asked.method} {asked.path}.", 404)


def _scalar(kind: str, text: str) -> Any:
    if kind in ("integer", "long"):
        return int(text)
    return text == "true" if kind == "boolean" else text


def _typed(shape: Any, value: Any) -> Any:
    """JSON to what botocore's validator takes: times are times."""
    from botocore.utils import parse_timestamp

    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        named = {about.serialization.get("name", name): name for name, about in shape.members.items()}
        # A field that is null is one that is not there.
        present = {named.get(name, name): child for name, child in value.items() if child is not None}
        return {n: _typed(shape.members[n], child) if n in shape.members else child for n, child in present.items()}
    if kind == "list" and isinstance(value, list):
        return [_typed(shape.member, child) for child in value]
    if kind == "map" and isinstance(value, dict):
        return {name: _typed(shape.value, child) for name, child in value.items()}
    return parse_timestamp(value) if kind == "timestamp" else value


def _plain(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return {
            about.serialization.get("name", name): _plain(about, value[name])
            for name, about in shape.members.items()
            if value.get(name) is not None
        }
    if kind == "list":
        return [_plain(shape.member, child) for child in value]
    if kind == "map":
        return {name: _plain(shape.value, child) for name, child in value.items()}
    if kind == "timestamp":
        return value.timestamp() if isinstance(value, datetime) else value
    return value


def now() -> float:
    """The time as answers have it."""
    return datetime.now(UTC).timestamp()
