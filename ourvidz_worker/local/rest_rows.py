"""The part of PostgREST that the product's clients use: reads with filters, inserts, updates."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ourvidz_worker.local.database import Conflict, Database, Row
from ourvidz_worker.local.gateway import bearer
from ourvidz_worker.local.json_body import parse_json
from ourvidz_worker.local.keys import BadToken, Identity, Keys
from ourvidz_worker.local.row_query import BadQuery, RowQuery, check_value, parse_query
from ourvidz_worker.local.schema import PUBLIC_TABLES, Table

SINGLE_OBJECT = "application/vnd.pgrst.object+json"
NOT_ONE = "Cannot coerce the result to a single JSON object"


class RestRows:
    """The route below `/rest/v1`. A user sees and changes the user's own rows, the service key all."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    def routes(self) -> list[Route]:
        return [Route("/{table}", self.answer, methods=["GET", "HEAD", "POST", "PATCH"])]

    async def answer(self, request: Request) -> Response:
        try:
            return await self._answer(request, self._admit(request))
        except BadToken as error:
            return JSONResponse({"message": f"Invalid API key: {error}", "hint": None}, 401)
        except BadQuery as error:
            return JSONResponse(error.body(), error.status)
        except Conflict:
            body = {"code": "23505", "message": "duplicate key value violates unique constraint"}
            return JSONResponse({**body, "details": None, "hint": None}, 409)

    async def _answer(self, request: Request, identity: Identity) -> Response:
        name = request.path_params["table"]
        if name not in PUBLIC_TABLES:
            raise BadQuery(404, "PGRST205", f"Could not find the table 'public.{name}' in the schema cache")
        query = parse_query(request.query_params.multi_items(), PUBLIC_TABLES[name], name)
        match request.method:
            case "POST":
                rows = await _rows(request, PUBLIC_TABLES[name], name)
                return self._insert(request, name, rows, identity, query)
            case "PATCH":
                changes = await _rows(request, PUBLIC_TABLES[name], name)
                return self._update(request, name, changes, identity, query)
            case _:
                return self._select(request, name, identity, query)

    def _admit(self, request: Request) -> Identity:
        identity = bearer(request, self._keys)
        if key := request.headers.get("apikey"):
            self._keys.identify(key)
        return identity

    def _select(self, request: Request, table: str, identity: Identity, query: RowQuery) -> Response:
        where, values = query.restricted_to(identity)
        rows = self._database.select(table, where, values, tail=query.tail)
        total = self._database.count(table, where, values) if _prefers(request, "count=") else None
        return _found(request, [query.shaped(row) for row in rows], query.offset, total)

    def _insert(self, request: Request, table: str, rows: list[Row], identity: Identity, query: RowQuery) -> Response:
        for row in rows:
            if not identity.is_service and row.get("user_id") != identity.user_id:
                message = f'new row violates row-level security policy for table "{table}"'
                raise BadQuery(403, "42501", message)
        return _written(request, [self._database.insert(table, row) for row in rows], query, 201)

    def _update(
        self, request: Request, table: str, changes: list[Row], identity: Identity, query: RowQuery
    ) -> Response:
        if len(changes) != 1 or not changes[0]:
            raise BadQuery(400, "PGRST102", "the body must be one JSON object with the columns to change")
        where, values = query.restricted_to(identity)
        return _written(request, self._database.update(table, changes[0], where, values), query, 200)


def _found(request: Request, rows: list[Row], offset: int, total: int | None) -> Response:
    if SINGLE_OBJECT in request.headers.get("accept", ""):
        return _single(rows)
    span = f"{offset}-{offset + len(rows) - 1}" if rows else "*"
    headers = {"Content-Range": f"{span}/{'*' if total is None else total}"}
    partial = total is not None and len(rows) < total
    return JSONResponse(rows, 206 if partial else 200, headers)


def _single(rows: list[Row], status: int = 200) -> Response:
    if len(rows) != 1:
        raise BadQuery(406, "PGRST116", NOT_ONE, details=f"The result contains {len(rows)} rows")
    return JSONResponse(rows[0], status, media_type=SINGLE_OBJECT)


def _written(request: Request, rows: list[Row], query: RowQuery, status: int) -> Response:
    if not _prefers(request, "return=representation"):
        return Response(status_code=201 if status == 201 else 204)
    shaped = [query.shaped(row) for row in rows]
    if SINGLE_OBJECT in request.headers.get("accept", ""):
        return _single(shaped, status)
    return JSONResponse(shaped, status)


def _prefers(request: Request, wish: str) -> bool:
    return wish in request.headers.get("prefer", "")


async def _rows(request: Request, table: Table, name: str) -> list[Row]:
    try:
        body: Any = parse_json(await request.body())
    except ValueError as error:
        raise BadQuery(400, "PGRST102", "Empty or invalid json") from error
    rows = body if isinstance(body, list) else [body]
    for row in rows:
        if not isinstance(row, dict):
            raise BadQuery(400, "PGRST102", "All object keys must match")
        if unknown := row.keys() - table.columns.keys():
            message = f"Could not find the '{min(unknown)}' column of '{name}' in the schema cache"
            raise BadQuery(400, "PGRST204", message)
        for column, value in row.items():
            check_value(value, table.columns[column])
    return rows
