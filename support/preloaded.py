"""Imports the libraries of rendered services and of their checks, for the fork server.

A module that is missing here only makes a run slower.
"""

import gc
import importlib
from contextlib import suppress

import _pytest.config

MODULES = [
    "aiomysql",
    "aiosqlite",
    "alembic.command",
    "anyio._backends._asyncio",
    "anyio.from_thread",
    "asyncmy",
    "asyncpg",
    "fastapi.middleware",
    "fastapi.testclient",
    "mypy.main",
    "pdb",
    "psycopg",
    "pydantic.v1",
    "pydantic_settings",
    "sqlalchemy.dialects.mysql.aiomysql",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.ext.asyncio",
    "support.fork_server",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    *(f"_pytest.{plugin}" for plugin in _pytest.config.default_plugins),
]

for module in MODULES:
    with suppress(ImportError):
        importlib.import_module(module)

gc.collect()
gc.freeze()  # Children then do not copy memory that they do not change.
