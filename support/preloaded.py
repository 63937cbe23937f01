"""Imports what rendered services and their checks import, for the fork server.

A module that is missing here makes a run slower, not wrong.
"""

import gc
import importlib
from contextlib import suppress

import _pytest.config

MODULES = [
    "aiomysql",
    "aiosqlite",
    "alembic.autogenerate",
    "alembic.command",
    "alembic.config",
    "alembic.runtime.migration",
    "alembic.script",
    "anyio._backends._asyncio",
    "anyio.from_thread",
    "asyncmy",
    "asyncpg",
    "fastapi",
    "fastapi.middleware",
    "fastapi.testclient",
    "httpx2",
    "logging.config",
    "pdb",
    "psycopg",
    "psycopg_binary",
    "pydantic.v1",
    "pydantic_settings",
    "pymysql",
    "sqlalchemy.dialects.mysql.aiomysql",
    "sqlalchemy.dialects.mysql.asyncmy",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.ext.compiler",
    "sqlalchemy.orm",
    "support.suite_runner",
    "uvicorn",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.server",
    *(f"_pytest.{plugin}" for plugin in _pytest.config.default_plugins),
]

for module in MODULES:
    with suppress(ImportError):
        importlib.import_module(module)

gc.collect()
gc.freeze()  # keeps the children from copying memory that they do not change
