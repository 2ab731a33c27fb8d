"""A table of DynamoDB as a ledger needs it: items by two keys, documents of any size, and a number that only grows."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import cached_property
from typing import Any

from penstock import aws
from penstock.errors import EngineError, PenstockError, PermissionDeniedError

_EPOCH_ZERO = 1_767_225_600  # 2026-01-01T00:00:00Z
# An item has 400 KB at most: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
PIECE = 350_000
_MADE_SECONDS = 120
Item = dict[str, Any]


class DynamoTable:
    """A table, made where there is none.

    Args:
        table: Its name.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        with self.telling():
            self._make()

    @cached_property
    def client(self) -> Any:
        """boto3's client."""
        return aws.client("dynamodb", "A ledger in DynamoDB")

    def _make(self) -> None:
        try:
            self.client.describe_table(TableName=self.table)
        except self.client.exceptions.ResourceNotFoundException:
            # Another process may be making it.
            with suppress(self.client.exceptions.ResourceInUseException):
                self.client.create_table(
                    TableName=self.table,
                    KeySchema=[
                        {"AttributeName": "pk", "KeyType": "HASH"},
                        {"AttributeName": "sk", "KeyType": "RANGE"},
                    ],
                    AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
                    BillingMode="PAY_PER_REQUEST",
                )
            waiting = {"Delay": 1, "MaxAttempts": _MADE_SECONDS}
            self.client.get_waiter("table_exists").wait(TableName=self.table, WaiterConfig=waiting)

    def telling(self) -> AbstractContextManager[None]:
        """The errors of DynamoDB as ours."""
        return aws.told(self._refused, self._unreachable)

    def _refused(self, error: Any) -> PenstockError:
        code = error.response["Error"]["Code"]
        if code in ("AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"):
            return PermissionDeniedError(
                f"The ledger, table {self.table} of DynamoDB, refuses access ({code}).",
                hint="The role needs GetItem, PutItem, UpdateItem, DeleteItem, Query, DescribeTable, CreateTable.",
            )
        return EngineError(f"The ledger, table {self.table} of DynamoDB, cannot be used: {error}")

    def _unreachable(self, error: Any) -> PenstockError:
        return EngineError(
            f"The ledger, table {self.table} of DynamoDB, cannot be reached: {error}",
            hint="Check the network, the region, and AWS_ENDPOINT_URL.",
        )

    def get(self, pk: str, sk: str) -> Item | None:
        """An item, as it is now; None where there is none."""
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        found: Item = self.client.get_item(TableName=self.table, Key=key, ConsistentRead=True)
        return found.get("Item")

    def put(self, pk: str, sk: str, item: Item, **condition: Any) -> None:
        """Write an item, under a condition of DynamoDB's if one is given."""
        self.client.put_item(TableName=self.table, Item={"pk": {"S": pk}, "sk": {"S": sk}, **item}, **condition)

    def query(self, pk: str, **more: Any) -> Iterator[Item]:
        """All items of a first key, by the second; `more` are arguments of DynamoDB's Query."""
        asked = {"ExpressionAttributeValues": {":pk": {"S": pk}}, "KeyConditionExpression": "pk = :pk", **more}
        pages = self.client.get_paginator("query").paginate(TableName=self.table, ConsistentRead=True, **asked)
        for page in pages:
            yield from page["Items"]

    def put_document(self, pk: str, document: Mapping[str, Any]) -> None:
        """Write a document in as many items as it takes; the last first, so that it is there when the first one is."""
        data = packed(document)
        pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
        for number, piece in reversed(list(enumerate(pieces))):
            self.put(pk, f"{number:04}", {"data": {"B": piece}, "pieces": {"N": str(len(pieces))}})

    def get_document(self, pk: str) -> Any:
        """A document, or None where it is not there, or not whole."""
        items = list(self.query(pk))
        if not items or len(items) < int(items[0]["pieces"]["N"]):
            return None
        pieces = items[: int(items[0]["pieces"]["N"])]
        return unpacked(b"".join(item["data"]["B"] for item in pieces))

    def drop(self, pk: str) -> None:
        """Remove all items of a first key."""
        for item in list(self.query(pk, ProjectionExpression="pk, sk")):
            self.client.delete_item(TableName=self.table, Key={"pk": item["pk"], "sk": item["sk"]})

    def next_number(self) -> int:
        """A number that nobody has had; the first is the clock's, so that it is above all that tables have seen."""
        found = self.client.update_item(
            TableName=self.table,
            Key={"pk": {"S": "epoch"}, "sk": {"S": "epoch"}},
            UpdateExpression="SET n = if_not_exists(n, :start) + :one",
            ExpressionAttributeValues={":start": {"N": str(int(time.time()) - _EPOCH_ZERO)}, ":one": {"N": "1"}},
            ReturnValues="UPDATED_NEW",
        )
        return int(found["Attributes"]["n"]["N"])


def packed(document: Mapping[str, Any]) -> bytes:
    """A document as an item holds it."""
    return zlib.compress(json.dumps(document, default=_iso).encode())


def unpacked(data: bytes) -> Any:
    """As `packed` was given it."""
    return json.loads(zlib.decompress(data))


def _iso(value: object) -> str:
    """What JSON has no type for: a moment, as every other document of a run writes it."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
