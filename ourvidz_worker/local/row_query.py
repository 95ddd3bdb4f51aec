"""A PostgREST query string as SQL: columns, filters, order, limit and offset."""

from __future__ import annotations

import csv
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ourvidz_worker.local.database import Row
from ourvidz_worker.local.keys import Identity
from ourvidz_worker.local.schema import Kind, Table

COMPARISONS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "GLOB", "ilike": "LIKE"}
IS = {"null": "IS NULL", "not_null": "IS NOT NULL", "true": "= 1", "false": "= 0"}
RESERVED = ("select", "order", "limit", "offset", "columns", "on_conflict")
COLUMN = re.compile(r"(?:(?P<alias>\w+):)?(?P<name>\w+)(?:::\w+)?")


class BadQuery(Exception):
    """What PostgREST refuses, with its HTTP status and code."""

    def __init__(self, status: int, code: str, message: str, *, details: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self._code = code
        self._details = details

    def body(self) -> dict[str, str | None]:
        return {"code": self._code, "message": str(self), "details": self._details, "hint": None}


@dataclass(frozen=True, slots=True)
class RowQuery:
    """`columns` by the name they go out under; None is all of them."""

    columns: dict[str, str] | None
    where: str
    values: tuple[Any, ...]
    tail: str
    offset: int

    def restricted_to(self, identity: Identity) -> tuple[str, tuple[Any, ...]]:
        """The conditions, with row level security: only the service key sees other people's rows."""
        if identity.is_service:
            return self.where, self.values
        return f"({self.where}) AND user_id IS NOT NULL AND user_id = ?", (*self.values, identity.user_id)

    def shaped(self, row: Row) -> Row:
        return row if self.columns is None else {alias: row[name] for alias, name in self.columns.items()}


def parse_query(parameters: Iterable[tuple[str, str]], table: Table, name: str) -> RowQuery:
    """Raises `BadQuery` for unknown columns, operators and values."""
    conditions, values = [], []
    reserved: dict[str, str] = {}
    for key, value in parameters:
        if key in RESERVED:
            reserved[key] = value
        elif key != "apikey":
            condition, arguments = _filter(key, value, table, name)
            conditions.append(condition)
            values += arguments
    limit, offset = (_count(reserved, word) for word in ("limit", "offset"))
    bounds = f"LIMIT {-1 if limit is None else limit} OFFSET {offset or 0}"
    return RowQuery(
        columns=_columns(reserved.get("select", "*"), table, name),
        where=" AND ".join(conditions) or "1",
        values=tuple(values),
        tail=f"{_order(reserved.get('order', ''), table, name)} {bounds}",
        offset=offset or 0,
    )


def _columns(select: str, table: Table, name: str) -> dict[str, str] | None:
    if select.strip() in ("", "*"):
        return None
    if "(" in select:
        raise BadQuery(400, "PGRST200", f"embedded tables are not served here: select the columns of '{name}' alone")
    columns: dict[str, str] = {}
    for part in select.split(","):
        if part.strip() == "*":
            columns |= {column: column for column in table.columns}
        elif match := COLUMN.fullmatch(part.strip()):
            columns[match["alias"] or match["name"]] = _known(match["name"], table, name)
        else:
            raise BadQuery(400, "PGRST100", f'failed to parse select parameter ({select}) at "{part}"')
    return columns


def _filter(key: str, value: str, table: Table, name: str) -> tuple[str, list[Any]]:
    column = _known(key, table, name)
    negated = value.startswith("not.")
    operator, _, operand = value.removeprefix("not.").partition(".")
    kind = table.columns[column]
    if operator == "in" and operand.startswith("(") and operand.endswith(")"):
        arguments = [_typed(item, kind) for item in _listed(operand[1:-1])]
        condition = f'"{column}" IN ({", ".join("?" for _ in arguments)})'
    elif operator == "is" and operand.lower() in IS:
        condition, arguments = f'"{column}" {IS[operand.lower()]}', []
    elif operator in COMPARISONS:
        condition = f'"{column}" {COMPARISONS[operator]} ?'
        arguments = [_pattern(operator, operand) if "like" in operator else _typed(operand, kind)]
    else:
        raise BadQuery(400, "PGRST100", f'"failed to parse filter ({value})" (line 1, column 1)')
    return (f"NOT ({condition})" if negated else condition), arguments


def _order(order: str, table: Table, name: str) -> str:
    """`created_at.desc.nullslast,id`: PostgreSQL puts nulls last, and first when descending."""
    terms = []
    for part in filter(None, order.split(",")):
        column, *modifiers = part.split(".")
        if not set(modifiers) <= {"asc", "desc", "nullsfirst", "nullslast"}:
            raise BadQuery(400, "PGRST100", f'"failed to parse order ({order})" (line 1, column 1)')
        descending = "desc" in modifiers
        nulls_first = "nullsfirst" in modifiers or (descending and "nullslast" not in modifiers)
        direction = f"{'DESC' if descending else 'ASC'} NULLS {'FIRST' if nulls_first else 'LAST'}"
        terms.append(f'"{_known(column, table, name)}" {direction}')
    return f"ORDER BY {', '.join(terms)}" if terms else ""


def _known(column: str, table: Table, name: str) -> str:
    if column not in table.columns:
        raise BadQuery(400, "42703", f"column {name}.{column} does not exist")
    return column


def _listed(text: str) -> list[str]:
    """Values between commas, in quotes where they hold commas themselves."""
    return next(csv.reader([text], escapechar="\\")) if text else []


def _typed(text: str, kind: Kind) -> Any:
    try:
        match kind:
            case Kind.UUID:
                return str(uuid.UUID(text))
            case Kind.INTEGER:
                number = int(text)
                if not -(2**31) <= number < 2**31:
                    raise BadQuery(400, "22003", f'value "{text}" is out of range for type integer')
                return number
            case Kind.BOOL:
                return {"true": 1, "false": 0}[text.lower()]
            case Kind.TIME:
                datetime.fromisoformat(text)
                return text
            case _:
                return text
    except (ValueError, KeyError) as error:
        raise _invalid(text, kind) from error


def _invalid(value: object, kind: Kind) -> BadQuery:
    return BadQuery(400, "22P02", f'invalid input syntax for type {kind.value}: "{value}"')


def check_value(value: Any, kind: Kind) -> None:
    """Whether a JSON value may be stored in a column of this kind. Raises `BadQuery` as PostgreSQL would."""
    if value is None or kind is Kind.JSON:
        return
    fits = isinstance(value, str | int) and (kind is Kind.BOOL) == isinstance(value, bool)
    if not fits:
        raise _invalid(value, kind)
    _typed(str(value), kind)


def _pattern(operator: str, operand: str) -> str:
    """`*` and `%` stand for anything; SQLite's LIKE ignores case, its GLOB does not."""
    anything = operand.replace("*", "%")
    return anything if operator == "ilike" else _glob(anything)


def _glob(pattern: str) -> str:
    plain = re.sub(r"[\[?]", lambda match: f"[{match[0]}]", pattern)
    return plain.replace("%", "*").replace("_", "?")


def _count(reserved: dict[str, str], word: str) -> int | None:
    text = reserved.get(word)
    if text is None:
        return None
    if not text.isdecimal():
        raise BadQuery(400, "PGRST100", f'"failed to parse {word} parameter ({text})"')
    return min(int(text), 2**62)
