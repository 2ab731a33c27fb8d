"""What local EMR remembers: documents in one SQLite file, so that a restart goes on where the last one was."""

from __future__ import annotations

import json
import secrets
import sqlite3
import string
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Self

Document = dict[str, Any]
Kind = Literal["application", "serverless", "cluster", "step", "virtual_cluster", "eks", "template", "security"]
_ALPHABET = string.digits + string.ascii_lowercase


class State:
    """Documents by kind and id, in the order in which they were made; every change is on the disk when it returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS documents (kind TEXT, id TEXT, made INTEGER PRIMARY KEY, body TEXT,"
            " UNIQUE (kind, id))"
        )
        self._documents: dict[tuple[str, str], Document] = {
            (kind, id_): json.loads(body)
            for kind, id_, body in self._db.execute("SELECT kind, id, body FROM documents ORDER BY made")
        }

    def __enter__(self) -> Self:
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def add(self, kind: Kind, document: Document) -> Document:
        """A new document; its id is in it."""
        with self._lock:
            self._documents[kind, document["id"]] = document
            self._db.execute(
                "INSERT INTO documents (kind, id, body) VALUES (?, ?, ?)", (kind, document["id"], json.dumps(document))
            )
        return document

    def get(self, kind: Kind, id_: str) -> Document | None:
        """One document."""
        with self._lock:
            return self._documents.get((kind, id_))

    def all(self, kind: Kind, of: Callable[[Document], bool] = lambda _: True) -> Iterator[Document]:
        """All of a kind that fit, the oldest first."""
        with self._lock:
            found = [document for (known, _), document in self._documents.items() if known == kind and of(document)]
        return iter(found)

    def change(self, kind: Kind, id_: str, **fields: Any) -> Document:
        """Set fields of a document."""
        with self._lock:
            document = self._documents[kind, id_]
            document.update(fields)
            self._db.execute(
                "UPDATE documents SET body = ? WHERE kind = ? AND id = ?", (json.dumps(document), kind, id_)
            )
            return document

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._documents.clear()
            self._db.execute("DELETE FROM documents")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()


def new_id(length: int, alphabet: str = _ALPHABET) -> str:
    """A name that nothing else has."""
    return "".join(secrets.choice(alphabet) for _ in range(length))
