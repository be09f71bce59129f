"""A local server that speaks the part of PostgREST that the Supabase client uses, over a real PostgreSQL.

Written from PostgREST's documentation (v14, docs.postgrest.org); each rule names its page. In front of it stands what
Supabase puts there: the path ``/rest/v1/`` and a required ``apikey`` header.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import jwt
import psycopg
from psycopg import sql

PREFIX = "/rest/v1/"
MAX_ROWS = 1000
#: References > API > Tables and Views > Operators
OPERATORS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "LIKE", "ilike": "ILIKE"}
#: References > Errors > HTTP Status Codes: SQLSTATE, or its beginning, and the status it becomes; the rest is 400
STATUSES = {
    **{"08": 503, "09": 500, "0L": 403, "0P": 403, "23503": 409, "23505": 409, "25006": 405, "25": 500, "28": 403},
    **{"2D": 500, "38": 500, "39": 500, "3B": 500, "40": 500, "53400": 500, "53": 503, "54": 500, "55": 500},
    **{"57": 500, "58": 500, "F0": 500, "HV": 500, "P0001": 400, "P0": 500, "XX": 500},
    **{"42883": 404, "42P01": 404, "42P17": 500},
}
#: Answer with a status and a proxy's page; close without an answer before or after doing the work ("refuse", "lose");
#: stop in the middle of the body ("half"); say nothing until the server stops (None); wait for so many seconds (float).
Fault = int | float | Literal["refuse", "lose", "half"] | None


class Problem(Exception):
    """An answer that is an error. References > Errors: ``{"code", "details", "hint", "message"}``."""

    def __init__(self, status: int, code: str, message: str, details: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "details": details, "hint": None, "message": message}


class Answer(NamedTuple):
    """``body`` is JSON text; empty for none."""

    status: int
    body: str = ""
    content_range: str | None = None


class Asked(NamedTuple):
    """What a test may look at afterwards."""

    method: str
    path: str
    role: str


class PostgrestServer:
    """Serves one database on a free port of the loopback.

    Args:
        url: of the database, without a user: the server logs in as ``authenticator``.
        jwt_secret: tokens are checked with it (HS256).

    Attributes:
        faults: what to do first, one for each request.
        broken: what to do with every request while it is set.
        broken_paths: answer 503 where one of these is in the address.
        requests: those that were answered.
    """

    def __init__(self, url: str, jwt_secret: str) -> None:
        self.database = url.replace("postgres@", "authenticator@")
        self.jwt_secret = jwt_secret
        self.faults: list[Fault] = []
        self.broken: Fault | Literal[False] = False
        self.broken_paths: set[str] = set()
        self.requests: list[Asked] = []
        self.stopping = threading.Event()
        owner = self

        class Handler(_Handler):
            server_state = owner

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """What stands in ``ASEAGI_SUPABASE_URL``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def token(self, role: str, **claims: Any) -> str:
        """A token as Supabase or the control plane makes it."""
        return jwt.encode({"role": role, "exp": int(time.time()) + 3600, **claims}, self.jwt_secret, algorithm="HS256")

    def __enter__(self) -> PostgrestServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_state: PostgrestServer
    _db: psycopg.Connection[Any] | None = None

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_arguments: Any) -> None:
        pass

    def finish(self) -> None:
        super().finish()
        if self._db is not None:
            self._db.close()

    def _serve(self) -> None:
        state, body = self.server_state, self.rfile.read(int(self.headers.get("content-length") or 0))
        fault: Fault | Literal[False] = state.faults.pop(0) if state.faults else state.broken
        if any(name in self.path for name in state.broken_paths):
            fault = 503
        if fault is None:
            state.stopping.wait(60)
        if fault is None or fault == "refuse":
            self.close_connection = True
            return
        if isinstance(fault, float):
            state.stopping.wait(fault)
        elif isinstance(fault, int) and fault:
            self._send(Answer(fault, "<html><h1>a proxy's page</h1></html>"), "text/html")
            return
        try:
            answer = self._answer(body)
        except Problem as problem:
            answer = Answer(problem.status, json.dumps(problem.body))
        except psycopg.Error as exc:
            answer = _database_error(exc)
        if fault == "lose":
            self.close_connection = True
        else:
            self._send(answer, half=fault == "half")

    def _answer(self, body: bytes) -> Answer:
        where = urlsplit(self.path)
        if not self.headers.get("apikey"):
            raise Problem(401, "", "No API key found in request")
        if not where.path.startswith(PREFIX):
            raise Problem(404, "", "no Route matched with those values")
        role, claims = self._claims()
        self.server_state.requests.append(Asked(self.command, where.path.removeprefix(PREFIX), role))
        if self._db is None or self._db.closed:
            try:
                self._db = psycopg.connect(self.server_state.database, autocommit=True)
            except psycopg.OperationalError as exc:  # References > Errors, group 0: connection
                raise Problem(503, "PGRST001", "Could not query the database for the schema cache") from exc
        # References > Transactions: one per request; the role and the token's claims hold for it alone
        # Prefer Header > Transaction End Preference (db-tx-end=commit-allow-override)
        dry = "tx=rollback" in ",".join(self.headers.get_all("prefer", []))
        with self._db.transaction(force_rollback=dry), self._db.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('role', %s, true), set_config('request.jwt.claims', %s, true),"
                " set_config('request.method', %s, true), set_config('request.path', %s, true)",
                (role, json.dumps(claims), self.command, where.path),
            )
            request = _Request(cursor, self.command, parse_qsl(where.query, keep_blank_values=True), self.headers, body)
            name = where.path.removeprefix(PREFIX)
            return request.call(name.removeprefix("rpc/")) if name.startswith("rpc/") else request.table(name)

    def _claims(self) -> tuple[str, dict[str, Any]]:
        """References > Authentication > JWT-Based User Impersonation; without a role the request is anonymous."""
        given = self.headers.get("authorization", "").removeprefix("Bearer ")
        if not given:
            return "anon", {"role": "anon"}
        try:
            claims = jwt.decode(
                given, self.server_state.jwt_secret, algorithms=["HS256"], options={"verify_aud": False}
            )
        except jwt.ExpiredSignatureError as exc:
            raise Problem(401, "PGRST303", "JWT expired") from exc
        except jwt.InvalidTokenError as exc:
            raise Problem(401, "PGRST301", "JWSError JWSInvalidSignature", str(exc)) from exc
        return str(claims.get("role", "anon")), claims

    def _send(self, answer: Answer, content_type: str = "application/json; charset=utf-8", half: bool = False) -> None:
        data = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("content-type", content_type)
        if answer.content_range:
            self.send_header("content-range", answer.content_range)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if half else data)
        self.close_connection = self.close_connection or half


class _Request:
    """One request inside its transaction."""

    def __init__(
        self,
        cursor: psycopg.Cursor[Any],
        method: str,
        query: list[tuple[str, str]],
        headers: Any,
        body: bytes,
    ) -> None:
        self.cursor, self.method, self.query, self.headers = cursor, method, query, headers
        self.options = dict(query)
        # References > API > Prefer Header: comma-separated, also over several headers
        self.prefer = {part.strip() for header in headers.get_all("prefer", []) for part in header.split(",")}
        try:
            self.body = json.loads(body) if body else None
        except ValueError as exc:
            raise Problem(400, "PGRST102", "Empty or invalid json") from exc

    # -- References > API > Tables and Views

    def table(self, name: str) -> Answer:
        self.name = sql.Identifier("public", name)
        self.cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            (f'public."{name}"',),
        )
        self.columns = {row[0] for row in self.cursor.fetchall()}
        if not self.columns:
            raise Problem(404, "PGRST205", f"Could not find the table 'public.{name}' in the schema cache")
        return {
            "GET": self._select,
            "HEAD": self._select,
            "POST": self._insert,
            "PATCH": self._update,
            "DELETE": self._delete,
        }[self.method]()

    def _select(self) -> Answer:
        where, values = self._filters()
        tail = self._order()
        # Pagination and Count: limit and offset, or the Range header
        first, limit = int(self.options.get("offset", 0)), self.options.get("limit")
        if limit is None and "-" in self.headers.get("range", ""):
            begin, end = self.headers["range"].split("-")
            first, limit = int(begin), str(int(end) - int(begin) + 1) if end else None
        # References > Configuration > db-max-rows, which Supabase sets
        tail += sql.SQL(" LIMIT {}").format(sql.Literal(min(int(limit or MAX_ROWS), MAX_ROWS)))
        rows = sql.SQL("SELECT {} FROM {} AS t{}{} OFFSET {}").format(
            self._wanted(), self.name, where, tail, sql.Literal(first)
        )
        found, count = self._rows(rows, values)
        total: int | str = "*"
        if "count=exact" in self.prefer:
            self.cursor.execute(sql.SQL("SELECT count(*) FROM {} AS t{}").format(self.name, where), values)
            total = self.cursor.fetchone()[0]
            if first > total:
                raise Problem(416, "PGRST103", "Requested range not satisfiable", f"{first} of {total}")
        shown = f"{first}-{first + count - 1}" if count else "*"
        partial = isinstance(total, int) and count < total
        return Answer(206 if partial else 200, found, f"{shown}/{total}")

    def _insert(self) -> Answer:
        given = self.body if isinstance(self.body, list) else [self.body]
        if not all(isinstance(row, dict) for row in given):
            raise Problem(400, "PGRST102", "All object keys must match")
        names = [name.strip('"') for name in self.options.get("columns", "").split(",") if name] or list(given[0])
        unknown = [name for name in names if name not in self.columns]
        if unknown:
            raise Problem(400, "PGRST204", f"Could not find the '{unknown[0]}' column in the schema cache")
        listed = sql.SQL(", ").join(map(sql.Identifier, names))
        conflict = sql.SQL("")
        # Upsert: Prefer resolution=…, on the primary key or on on_conflict's columns
        if {"resolution=merge-duplicates", "resolution=ignore-duplicates"} & self.prefer:
            key = self.options["on_conflict"].split(",") if "on_conflict" in self.options else self._primary_key()
            changed = [name for name in names if name not in key]
            action = (
                sql.SQL("DO UPDATE SET {}").format(
                    sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in changed)
                )
                if "resolution=merge-duplicates" in self.prefer and changed
                else sql.SQL("DO NOTHING")
            )
            conflict = sql.SQL(" ON CONFLICT ({}) {}").format(sql.SQL(", ").join(map(sql.Identifier, key)), action)
        statement = sql.SQL(
            "INSERT INTO {} ({}) SELECT {} FROM json_populate_recordset(NULL::{}, %s::json) AS body{}"
        ).format(self.name, listed, listed, self.name, conflict)
        return self._change(statement, [json.dumps(given)], 201, 201)

    def _update(self) -> Answer:
        where, values = self._filters()
        columns = [name for name in self.body if name in self.columns]
        if len(columns) < len(self.body):
            raise Problem(400, "PGRST204", "Could not find a column in the schema cache")
        changes = sql.SQL(", ").join(sql.SQL("{0} = body.{0}").format(sql.Identifier(name)) for name in columns)
        statement = sql.SQL("UPDATE {} AS t SET {} FROM json_populate_record(NULL::{}, %s::json) AS body{}").format(
            self.name, changes, self.name, where
        )
        return self._change(statement, [json.dumps(self.body), *values], 200, 204, sql.SQL("t.*"))

    def _delete(self) -> Answer:
        where, values = self._filters()
        return self._change(sql.SQL("DELETE FROM {} AS t{}").format(self.name, where), values, 200, 204, sql.SQL("t.*"))

    def _change(
        self,
        statement: sql.Composable,
        values: Sequence[Any],
        shown: int,
        silent: int,
        row: sql.Composable | None = None,
    ) -> Answer:
        """Prefer Header > Return Representation: the changed rows, or (the default) nothing."""
        if "return=representation" not in self.prefer:
            self.cursor.execute(statement, values)
            return Answer(silent)
        returning = row or (self._wanted() if "select" in self.options else sql.SQL("*"))
        found, _ = self._rows(sql.SQL("{} RETURNING {}").format(statement, returning), values)
        return Answer(shown, found)

    def _filters(self) -> tuple[sql.Composable, list[Any]]:
        """Horizontal Filtering: ``column=[not.]operator.value``, joined by AND."""
        conditions: list[sql.Composable] = []
        values: list[Any] = []
        for column, condition in self.query:
            if column in ("select", "order", "limit", "offset", "on_conflict", "columns"):
                continue
            negated = condition.startswith("not.")
            operator, dot, value = condition.removeprefix("not.").partition(".")
            left = sql.Identifier("t", column)
            if not dot or column not in self.columns:
                raise Problem(400, "PGRST100", f"failed to parse filter ({column}={condition})")
            if operator == "is":
                test: sql.Composable = sql.SQL("{} IS {}").format(left, sql.SQL(_is(value)))
            elif operator == "in":
                test = sql.SQL("{} IN ({})").format(left, sql.SQL(", ").join([sql.Placeholder()] * len(_listed(value))))
                values += _listed(value)
            elif operator in OPERATORS:
                test = sql.SQL("{} {} {}").format(left, sql.SQL(OPERATORS[operator]), sql.Placeholder())
                values.append(value.replace("*", "%") if "like" in operator else value)
            else:
                raise Problem(400, "PGRST100", f'"failed to parse filter ({condition})"')
            conditions.append(sql.SQL("NOT ({})").format(test) if negated else test)
        if not conditions:
            return sql.SQL(""), values
        return sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions), values

    def _order(self) -> sql.Composable:
        """Ordering: ``order=a.desc,b.asc.nullslast``."""
        terms = []
        for term in filter(None, self.options.get("order", "").split(",")):
            column, *words = term.split(".")
            if column not in self.columns:
                raise Problem(400, "42703", f"column {column} does not exist")
            how = {"asc": "ASC", "desc": "DESC", "nullsfirst": "NULLS FIRST", "nullslast": "NULLS LAST"}
            terms.append(
                sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(" ".join(how[word] for word in words)))
            )
        return sql.SQL(" ORDER BY ") + sql.SQL(", ").join(terms) if terms else sql.SQL("")

    def _wanted(self) -> sql.Composable:
        """Vertical Filtering: ``select=a,b`` or all."""
        names = [name for name in self.options.get("select", "*").split(",") if name]
        if names == ["*"]:
            return sql.SQL("*")
        return sql.SQL(", ").join(map(sql.Identifier, names))

    def _primary_key(self) -> list[str]:
        self.cursor.execute(
            "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)"
            " WHERE indisprimary AND indrelid = to_regclass(%s)",
            (self.name.as_string(self.cursor),),
        )
        return [row[0] for row in self.cursor.fetchall()]

    def _rows(self, rows: sql.Composable, values: Sequence[Any]) -> tuple[str, int]:
        counted = "SELECT coalesce(json_agg(pgrst_source), '[]')::text, count(*) FROM pgrst_source"
        statement = sql.SQL("WITH pgrst_source AS ({}) " + counted)
        self.cursor.execute(statement.format(rows), values)
        found = self.cursor.fetchone()
        assert found is not None
        return str(found[0]), int(found[1])

    # -- References > API > Functions as RPC

    def call(self, name: str) -> Answer:
        """POST with named arguments as JSON; GET with them in the query, in a read-only transaction."""
        given = dict(self.query) if self.method in ("GET", "HEAD") else self.body or {}
        if self.method in ("GET", "HEAD"):
            self.cursor.execute("SET TRANSACTION READ ONLY")
        arguments, returns = self._function(name, set(given))
        call = sql.SQL("public.{}({})").format(
            sql.Identifier(name),
            sql.SQL(", ").join(sql.SQL("{0} := body.{0}").format(sql.Identifier(key)) for key in given),
        )
        types = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(key), sql.SQL(arguments[key])) for key in given
        )
        body = sql.SQL("json_to_record(%s::json) AS body ({}), LATERAL ").format(types) if given else sql.SQL("")
        rows = sql.SQL("SELECT result.* FROM {}{} AS result").format(body, call)
        values = [json.dumps(given)] if given else []
        if returns == "void":  # "Void Functions": 204
            self.cursor.execute(rows, values)
            return Answer(204)
        if returns == "scalar":
            statement = sql.SQL("WITH pgrst_source AS ({}) SELECT to_json(pgrst_source.result)::text FROM pgrst_source")
            self.cursor.execute(statement.format(rows), values)
            return Answer(200, self.cursor.fetchone()[0] or "null")  # type: ignore[index]
        found, _ = self._rows(rows, values)
        return Answer(200, found if returns == "set" else json.dumps(json.loads(found)[0]))

    def _function(self, name: str, given: set[str]) -> tuple[dict[str, str], str]:
        """The function of that name that takes these arguments: their types, and what it returns."""
        self.cursor.execute(
            "SELECT proargnames[1:pronargs], (SELECT array_agg(format_type(t, NULL) ORDER BY n) FROM"
            " unnest(proargtypes) WITH ORDINALITY AS types (t, n)), pronargdefaults, proretset, typtype, typname"
            " FROM pg_proc JOIN pg_type ON pg_type.oid = prorettype"
            " WHERE proname = %s AND pronamespace = 'public'::regnamespace",
            (name,),
        )
        for names, types, defaults, is_set, kind, returned in self.cursor.fetchall():
            arguments = dict(zip(names or [], types or [], strict=True))
            required = set((names or [])[: len(arguments) - defaults])
            if required <= given <= set(arguments):
                shape = "void" if returned == "void" else "set" if is_set else "row" if kind == "c" else "scalar"
                return arguments, shape
        listed = ", ".join(sorted(given))
        raise Problem(404, "PGRST202", f"Could not find the function public.{name}({listed}) in the schema cache")


def _is(value: str) -> str:
    words = {"null": "NULL", "true": "TRUE", "false": "FALSE", "unknown": "UNKNOWN"}
    if value not in words:
        raise Problem(400, "PGRST100", f"failed to parse filter (is.{value})")
    return words[value]


def _listed(value: str) -> list[str]:
    """``(a,"b,c")`` → a and b,c. URL Grammar > Reserved characters: double quotes, backslash escapes."""
    found, current, quoted, escaped = [], "", False, False
    for character in value[1:-1]:
        if escaped:
            current, escaped = current + character, False
        elif quoted and character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            found.append(current)
            current = ""
        else:
            current += character
    return [*found, current]


def _database_error(exc: psycopg.Error) -> Answer:
    """References > Errors > Errors from PostgreSQL; RAISE with PTxyz gives status xyz."""
    code = exc.sqlstate or "08006"
    status = STATUSES.get(code) or STATUSES.get(code[:2]) or 400
    if code.startswith("PT"):
        status = int(code[2:])
    if code == "42501":
        status = 403
    diagnostics = exc.diag
    body = {
        "code": code,
        "details": diagnostics.message_detail,
        "hint": diagnostics.message_hint,
        "message": diagnostics.message_primary or str(exc),
    }
    return Answer(status, json.dumps(body))
