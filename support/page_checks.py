"""Checks of pages beyond their commands: load, memory, and concurrent clients."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2

from support.databases import execute
from support.memory import measure
from support.pages import ADDRESS, Reader
from support.processes import run
from support.rolling_updates import RollingReader

USERS = 200_000
"""The rows of the table that is migrated under load."""
CLIENTS = 8


def migrate_under_load(reader: Reader, page: Path) -> None:
    """Follow the page while clients use the service; the table is large."""
    url = reader.environment["DATABASE_URL"]
    fill = (
        "INSERT INTO users (email, name) "
        f"SELECT i || '@old.test', 'Old' FROM generate_series(1, {USERS}) AS i"
    )
    reader.type("uv run alembic upgrade head")
    execute(url, fill)
    with RollingReader(reader) as clients:
        clients.start("uv run fastapi run")
        clients.begin_load()
        clients.read(page)
        clients.end_load()
    assert clients.failures == []
    assert clients.successes > 100
    without = "SELECT count(*) FROM users WHERE domain <> split_part(email, '@', 2)"
    assert execute(url, without) == ["0"]


def measure_memory(reader: Reader, page: Path) -> None:
    """Check that the memory of the scripts does not grow with the number of rows."""
    reader.read(page)
    lines = (reader.folder / "users.csv").read_text().splitlines(keepends=True)
    (reader.folder / "few.csv").write_text("".join(lines[:101]))

    def memory(script: str, *arguments: str) -> float:
        command = [sys.executable, f"scripts/{script}.py", *arguments]
        return measure(command, reader.folder, reader.environment)[1]

    exported = memory("export_users")
    imported = memory("import_users", "users.csv")
    execute(reader.environment["DATABASE_URL"], "DELETE FROM users WHERE id > 100")
    assert exported - memory("export_users") < 10
    assert imported - memory("import_users", "few.csv") < 10


@contextmanager
def served(reader: Reader) -> Iterator[httpx2.Client]:
    """Start the service and create a user and a post; yield a client."""
    reader.start("uv run fastapi run")
    url = f"http://{reader.localize(ADDRESS)}"
    with httpx2.Client(base_url=url, timeout=60) as client:
        user = {"email": "ada@example.com", "name": "Ada"}
        ada = client.post("/users", json=user).json()["id"]
        post = {"title": "Looms", "author_id": ada}
        assert client.post("/posts", json=post).status_code == 201
        yield client


def at_once(request: Callable[[int], httpx2.Response]) -> list[httpx2.Response]:
    """Return the responses to requests that are sent at the same time."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(request, range(CLIENTS)))


def change_at_once(reader: Reader, page: Path) -> None:
    """Check that one of several changes to the same version succeeds."""
    reader.read(page)
    with served(reader) as client:
        [post] = client.get("/posts").json()
        path = f"/posts/{post['public_id']}"
        for turn in range(5):
            condition = {"If-Match": client.get(path).headers["ETag"]}

            def change(number: int) -> httpx2.Response:
                body = {"title": f"Turn {turn}, client {number}"}  # noqa: B023
                return client.patch(path, json=body, headers=condition)  # noqa: B023

            responses = at_once(change)
            codes = [response.status_code for response in responses]
            assert sorted(codes) == [200] + [412] * (CLIENTS - 1)


def repeat_at_once(reader: Reader, page: Path) -> None:
    """Check that requests with the same key have one effect and one response."""
    reader.read(page)
    with served(reader) as client:
        [post] = client.get("/posts").json()
        body = {"title": "Mills", "author_id": post["author_id"]}
        for turn in range(5):
            key = {"Idempotency-Key": f"turn {turn}"}

            def create(_: int) -> httpx2.Response:
                return client.post("/posts", json=body, headers=key)  # noqa: B023

            responses = at_once(create)
            assert {response.status_code for response in responses} == {201}
            assert len({response.text for response in responses}) == 1
        assert len(client.get("/posts").json()) == 1 + 5


def send_at_once(reader: Reader, page: Path) -> None:
    """Check that several workers send each message once."""
    reader.read(page)
    url = reader.environment["DATABASE_URL"]
    fill = (
        "INSERT INTO outbox (topic, payload) "
        "SELECT 'user.created', jsonb_build_object('id', i) "
        "FROM generate_series(1, 1000) AS i RETURNING id"
    )
    ids = sorted(map(int, execute(url, fill)))
    command = [sys.executable, "scripts/send_messages.py"]
    with ThreadPoolExecutor(3) as workers:
        done = list(
            workers.map(
                lambda _: run(command, reader.folder, reader.environment), range(3)
            )
        )
    lines = [line for each in done for line in each.stdout.splitlines()]
    assert [each.returncode for each in done] == [0, 0, 0], done
    assert sorted(json.loads(line)["id"] for line in lines) == ids
    assert execute(url, "SELECT count(*) FROM outbox") == ["0"]


CHECKS: Mapping[str, Callable[[Reader, Path], None]] = {
    "how-to/idempotency.md": repeat_at_once,
    "how-to/large-data.md": measure_memory,
    "how-to/lost-updates.md": change_at_once,
    "how-to/migrations.md": migrate_under_load,
    "how-to/outbox.md": send_at_once,
}
"""The pages with a service on PostgreSQL, and how to follow and check each of them."""
