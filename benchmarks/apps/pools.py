"""The drivers' own pools of ten connections, without SQLAlchemy."""

import asyncio
import queue
import sqlite3
from typing import Any, Protocol

SIZE = 10
Row = dict[str, Any]


class AsyncPool(Protocol):
    """A pool of async connections; ``mark`` is the driver's placeholder."""

    mark: str

    async def open(self, **place: Any) -> None: ...
    async def read(self, sql: str, *values: object) -> list[Row]: ...
    async def write(self, sql: str, *values: object) -> Row: ...


class SyncPool(Protocol):
    """A pool of sync connections, which threads share."""

    mark: str

    def open(self, **place: Any) -> None: ...
    def read(self, sql: str, *values: object) -> list[Row]: ...
    def write(self, sql: str, *values: object) -> Row: ...


class Asyncpg:
    mark = "${}"

    async def open(self, **place: Any) -> None:
        import asyncpg

        self._pool = await asyncpg.create_pool(min_size=SIZE, max_size=SIZE, **place)

    async def read(self, sql: str, *values: object) -> list[Row]:
        return [dict(row) for row in await self._pool.fetch(sql, *values)]

    async def write(self, sql: str, *values: object) -> Row:
        async with self._pool.acquire() as connection, connection.transaction():
            return dict(await connection.fetchrow(sql, *values))


class AsyncPsycopg:
    mark = "%s"

    async def open(self, **place: Any) -> None:
        from psycopg.rows import dict_row
        from psycopg_pool import AsyncConnectionPool

        options = psycopg_options(**place, row_factory=dict_row)
        self._pool = AsyncConnectionPool(
            kwargs=options, min_size=SIZE, max_size=SIZE, open=False
        )
        await self._pool.open(wait=True)

    async def read(self, sql: str, *values: object) -> list[Row]:
        async with self._pool.connection() as connection:
            cursor: Any = await connection.execute(sql.encode(), values)
            rows: list[Row] = await cursor.fetchall()
            return rows

    async def write(self, sql: str, *values: object) -> Row:
        async with self._pool.connection() as connection, connection.transaction():
            cursor: Any = await connection.execute(sql.encode(), values)
            row: Row = await cursor.fetchone()
            return row


class SyncPsycopg:
    mark = "%s"

    def open(self, **place: Any) -> None:
        from psycopg.rows import dict_row
        from psycopg_pool import ConnectionPool

        options = psycopg_options(**place, row_factory=dict_row)
        self._pool = ConnectionPool(
            kwargs=options, min_size=SIZE, max_size=SIZE, open=False
        )
        self._pool.open(wait=True)

    def read(self, sql: str, *values: object) -> list[Row]:
        with self._pool.connection() as connection:
            cursor: Any = connection.execute(sql.encode(), values)
            rows: list[Row] = cursor.fetchall()
            return rows

    def write(self, sql: str, *values: object) -> Row:
        with self._pool.connection() as connection, connection.transaction():
            cursor: Any = connection.execute(sql.encode(), values)
            row: Row = cursor.fetchone()
            return row


def psycopg_options(*, database: str, **options: Any) -> dict[str, Any]:
    """Return psycopg's connection options; reads use autocommit."""
    return {"dbname": database, "autocommit": True, **options}


class AsyncMysql:
    """asyncmy and aiomysql, which have the same API."""

    mark = "%s"

    def __init__(self, driver: str) -> None:
        self._driver = driver

    async def open(self, *, database: str, **place: Any) -> None:
        from importlib import import_module

        driver = import_module(self._driver)
        self._rows = import_module(f"{self._driver}.cursors").DictCursor
        self._pool = await driver.create_pool(
            minsize=SIZE, maxsize=SIZE, autocommit=True, db=database, **place
        )

    async def read(self, sql: str, *values: object) -> list[Row]:
        async with (
            self._pool.acquire() as connection,
            connection.cursor(self._rows) as cursor,
        ):
            await cursor.execute(sql, values)
            return list(await cursor.fetchall())

    async def write(self, sql: str, *values: object) -> Row:
        async with (
            self._pool.acquire() as connection,
            connection.cursor(self._rows) as cursor,
        ):
            await connection.begin()
            await cursor.execute(sql, values)
            row: Row = await cursor.fetchone()
            await connection.commit()
            return row


class SyncMysql:
    """A queue of connections, because pymysql has no pool."""

    mark = "%s"

    def open(self, **place: Any) -> None:
        import pymysql
        from pymysql.cursors import DictCursor

        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(SIZE):
            self._idle.put(
                pymysql.connect(autocommit=True, cursorclass=DictCursor, **place)
            )

    def read(self, sql: str, *values: object) -> list[Row]:
        connection = self._idle.get()
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return list(cursor.fetchall())
        finally:
            self._idle.put(connection)

    def write(self, sql: str, *values: object) -> Row:
        connection = self._idle.get()
        try:
            with connection.cursor() as cursor:
                connection.begin()
                cursor.execute(sql, values)
                row: Row = cursor.fetchone()
                connection.commit()
                return row
        finally:
            self._idle.put(connection)


class SyncSqlite:
    """A queue of connections to a SQLite file."""

    mark = "?"

    def open(self, *, database: str) -> None:
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for _ in range(SIZE):
            connection = sqlite3.connect(
                database, isolation_level=None, check_same_thread=False
            )
            connection.executescript(PRAGMAS)
            connection.row_factory = sqlite3.Row
            self._idle.put(connection)

    def read(self, sql: str, *values: object) -> list[Row]:
        connection = self._idle.get()
        try:
            return [dict(row) for row in connection.execute(sql, values).fetchall()]
        finally:
            self._idle.put(connection)

    def write(self, sql: str, *values: object) -> Row:
        connection = self._idle.get()
        try:
            connection.execute("BEGIN IMMEDIATE")
            row = dict(connection.execute(sql, values).fetchone())
            connection.execute("COMMIT")
            return row
        finally:
            self._idle.put(connection)


class AsyncSqlite:
    """A queue of connections, because aiosqlite has no pool."""

    mark = "?"

    async def open(self, *, database: str) -> None:
        import aiosqlite

        self._idle: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        for _ in range(SIZE):
            connection = await aiosqlite.connect(database, isolation_level=None)
            await connection.executescript(PRAGMAS)
            connection.row_factory = sqlite3.Row
            self._idle.put_nowait(connection)

    async def read(self, sql: str, *values: object) -> list[Row]:
        connection = await self._idle.get()
        try:
            return [dict(row) for row in await connection.execute_fetchall(sql, values)]
        finally:
            self._idle.put_nowait(connection)

    async def write(self, sql: str, *values: object) -> Row:
        connection = await self._idle.get()
        try:
            await connection.execute("BEGIN IMMEDIATE")
            rows = list(await connection.execute_fetchall(sql, values))
            await connection.execute("COMMIT")
            return dict(rows[0])
        finally:
            self._idle.put_nowait(connection)


PRAGMAS = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    PRAGMA foreign_keys = ON;
    PRAGMA busy_timeout = 5000;
"""
