"""The product's tables in SQLite: typed columns, JSON in and out, and word of every change."""

# ruff: noqa: S608 - table and column names come from the schema alone, values are always bound

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ourvidz_worker.local.schema import TABLES, Kind, Table, ddl

Row = dict[str, Any]


class Conflict(Exception):
    """A row with this key exists already."""


class Database:
    """One connection behind a lock: statements are short, and callers come from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._listeners: list[Callable[[], None]] = []
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", *ddl()):
            self._connection.execute(statement)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change, in the thread that made it."""
        self._listeners.append(listener)

    def insert(self, table: str, row: Mapping[str, Any], *, replace: bool = False) -> Row:
        """Store a row, with the table's defaults for what is missing, and return it.

        Raises `Conflict` when its key is taken and `replace` is false.
        """
        full = {**TABLES[table].defaults(), **row}
        columns = ", ".join(f'"{name}"' for name in full)
        places = ", ".join("?" for _ in full)
        verb = "INSERT OR REPLACE" if replace else "INSERT"
        values = [_stored(TABLES[table], name, value) for name, value in full.items()]
        try:
            stored = self._rows(table, f'{verb} INTO "{table}" ({columns}) VALUES ({places}) RETURNING *', values)
        except sqlite3.IntegrityError as error:
            raise Conflict(str(error)) from error
        self._changed()
        return stored[0]

    def update(self, table: str, changes: Mapping[str, Any], where: str, values: Sequence[Any]) -> list[Row]:
        """Change the rows that match, and return them as they are now."""
        assignments = ", ".join(f'"{name}" = ?' for name in changes)
        new = [_stored(TABLES[table], name, value) for name, value in changes.items()]
        rows = self._rows(table, f'UPDATE "{table}" SET {assignments} WHERE {where} RETURNING *', [*new, *values])
        if rows:
            self._changed()
        return rows

    def delete(self, table: str, where: str, values: Sequence[Any]) -> list[Row]:
        """Remove the rows that match, and return them as they were."""
        rows = self._rows(table, f'DELETE FROM "{table}" WHERE {where} RETURNING *', values)
        if rows:
            self._changed()
        return rows

    def select(self, table: str, where: str = "1", values: Sequence[Any] = (), *, tail: str = "") -> list[Row]:
        """The rows that match; `tail` is an ORDER BY or LIMIT clause."""
        return self._rows(table, f'SELECT * FROM "{table}" WHERE {where} {tail}', values)

    def one(self, table: str, where: str, *values: Any) -> Row | None:
        """The first row that matches."""
        rows = self.select(table, where, values, tail="LIMIT 1")
        return rows[0] if rows else None

    def count(self, table: str, where: str = "1", values: Sequence[Any] = ()) -> int:
        with self._lock:
            query = f'SELECT COUNT(*) FROM "{table}" WHERE {where}'
            return int(self._connection.execute(query, values).fetchone()[0])

    def _rows(self, table: str, statement: str, values: Iterable[Any]) -> list[Row]:
        with self._lock:
            cursor = self._connection.execute(statement, tuple(values))
            return [_loaded(TABLES[table], row) for row in cursor.fetchall()]

    def _changed(self) -> None:
        for listener in self._listeners:
            listener()


def _stored(table: Table, name: str, value: Any) -> Any:
    """JSON as text; halves of surrogate pairs, which no UTF-8 text can hold, become question marks."""
    if value is not None and (table.columns[name] is Kind.JSON or isinstance(value, dict | list)):
        value = json.dumps(value, ensure_ascii=False)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _loaded(table: Table, row: sqlite3.Row) -> Row:
    return {name: _value(kind, row[name]) for name, kind in table.columns.items()}


def _value(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind is Kind.JSON:
        return json.loads(value)
    return bool(value) if kind is Kind.BOOL else value
