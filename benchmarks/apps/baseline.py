"""The measured routes on a driver's own pool, as a lower bound of their cost.

The environment names the driver (``BASELINE``, a key of ``POOLS``) and the database
(``BASELINE_DATABASE``, keyword arguments as JSON).
"""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header

from benchmarks.apps import pools
from benchmarks.apps.schemas import PostOut, PostWithAuthor, UserIn, UserOut

POOLS: dict[str, Any] = {
    "asyncpg": pools.Asyncpg,
    "psycopg": pools.AsyncPsycopg,
    "psycopg-sync": pools.SyncPsycopg,
    "asyncmy": lambda: pools.AsyncMysql("asyncmy"),
    "aiomysql": lambda: pools.AsyncMysql("aiomysql"),
    "pymysql": pools.SyncMysql,
    "aiosqlite": pools.AsyncSqlite,
    "pysqlite": pools.SyncSqlite,
}
SYNC = {"psycopg-sync", "pymysql", "pysqlite"}

DRIVER = os.environ["BASELINE"]
PLACE = json.loads(os.environ["BASELINE_DATABASE"])
pool = POOLS[DRIVER]()
first, second = pool.mark.format(1), pool.mark.format(2)

USER = f"SELECT * FROM users WHERE id = {first}"
POST = f"SELECT p.*, p.metadata AS extra FROM posts p WHERE id = {first}"
USERS_COLUMNS = ("id", "email", "name", "is_active", "created_at", "updated_at")
PAGE = (
    "SELECT p.*, p.metadata AS extra, "
    + ", ".join(f"u.{name} AS author_{name}" for name in USERS_COLUMNS[1:])
    + " FROM posts p JOIN users u ON u.id = p.author_id"
    + f" WHERE p.id > {first} ORDER BY p.id LIMIT 20"
)
INSERT = f"INSERT INTO users (email, name) VALUES ({first}, {second}) RETURNING *"


def with_author(row: pools.Row) -> pools.Row:
    """Return a row of ``PAGE`` in the form of the response."""
    author = {name: row[f"author_{name}"] for name in USERS_COLUMNS}
    return {**row, "author": author}


async def async_routes(router: APIRouter, pool: pools.AsyncPool) -> None:
    """Add the routes, on an open pool."""
    await pool.open(**PLACE)

    @router.get("/users/{user_id}", response_model=UserOut)
    async def read_user(user_id: int) -> pools.Row:
        return (await pool.read(USER, user_id))[0]

    @router.get("/posts", response_model=list[PostWithAuthor])
    async def list_posts(after: int) -> list[pools.Row]:
        return [with_author(row) for row in await pool.read(PAGE, after)]

    @router.post("/users", response_model=UserOut, status_code=201)
    async def create_user(data: UserIn) -> pools.Row:
        return await pool.write(INSERT, data.email, data.name)

    async def authenticate(x_user: Annotated[int, Header()]) -> pools.Row:
        return (await pool.read(USER, x_user))[0]

    @router.get(
        "/auth/posts/{post_id}",
        response_model=PostOut,
        dependencies=[Depends(authenticate)],
    )
    async def read_post(post_id: int) -> pools.Row:
        return (await pool.read(POST, post_id))[0]

    @router.post(
        "/auth/users",
        response_model=UserOut,
        status_code=201,
        dependencies=[Depends(authenticate)],
    )
    async def create_user_as(data: UserIn) -> pools.Row:
        return await pool.write(INSERT, data.email, data.name)


def sync_routes(router: APIRouter, pool: pools.SyncPool) -> None:
    """Add the routes, on an open pool."""
    pool.open(**PLACE)

    @router.get("/users/{user_id}", response_model=UserOut)
    def read_user(user_id: int) -> pools.Row:
        return pool.read(USER, user_id)[0]

    @router.get("/posts", response_model=list[PostWithAuthor])
    def list_posts(after: int) -> list[pools.Row]:
        return [with_author(row) for row in pool.read(PAGE, after)]

    @router.post("/users", response_model=UserOut, status_code=201)
    def create_user(data: UserIn) -> pools.Row:
        return pool.write(INSERT, data.email, data.name)

    def authenticate(x_user: Annotated[int, Header()]) -> pools.Row:
        return pool.read(USER, x_user)[0]

    @router.get(
        "/auth/posts/{post_id}",
        response_model=PostOut,
        dependencies=[Depends(authenticate)],
    )
    def read_post(post_id: int) -> pools.Row:
        return pool.read(POST, post_id)[0]

    @router.post(
        "/auth/users",
        response_model=UserOut,
        status_code=201,
        dependencies=[Depends(authenticate)],
    )
    def create_user_as(data: UserIn) -> pools.Row:
        return pool.write(INSERT, data.email, data.name)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool in the event loop of the server."""
    router = APIRouter(prefix="/bench")
    if DRIVER in SYNC:
        sync_routes(router, pool)
    else:
        await async_routes(router, pool)
    app.include_router(router)
    yield


app = FastAPI(lifespan=lifespan)
