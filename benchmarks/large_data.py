"""Measure pages, imports and exports of large tables on PostgreSQL, in one run.

python -m benchmarks.large_data [--save]

The scripts are those of docs/how-to/large-data.md, and naive ones for comparison.
``--save`` writes the tables into that page.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2

from support.databases import create_database, execute
from support.memory import measure
from support.pages import Reader
from support.services import Service
from support.shared_servers import SharedServers
from support.template import NOW, ROOT, copy, make_releases

PAGE = ROOT / "docs/how-to/large-data.md"
BEGIN = "<!-- figures -->\n"
ROWS = 100_000
SOME = 10_000
"""The number of rows for scripts that are too slow for all rows."""
USERS = 1_000_000
ROUNDS = 30

IMPORTS = """
import asyncio
import csv
import sys

from sqlalchemy import select

from shop.db import transaction
from shop.main import app
from shop.users.models import User
"""
NAIVE_IMPORT = """

async def main(file: str) -> None:
    async with transaction() as session:
        for row in csv.DictReader(open(file)):
            {work}


asyncio.run(main(sys.argv[1]))
"""
ADD = "session.add(User(**row))"
FLUSH = "session.add(User(**row)); await session.flush()"
FIND = """user = await session.scalar(select(User).filter_by(email=row["email"]))
            if user:
                user.name = row["name"]
            else:
                session.add(User(**row))"""
NAIVE_EXPORT = """

async def main() -> None:
    writer = csv.writer(sys.stdout)
    async with transaction() as session:
        for user in await session.scalars(select(User).order_by(User.id)):
            writer.writerow([user.email, user.name])


asyncio.run(main())
"""


def row(name: str, file: str, figures: tuple[float, float], memory: float) -> str:
    """Return a row of a table: the name, rows, seconds, and memory above ``memory``."""
    rows = ROWS if file == "users.csv" else SOME
    extra = max(figures[1] - memory, 0)
    return f"| {name} | {rows:,} | {figures[0]:.1f} s | {extra:.0f} MB |"


def imports_and_exports(reader: Reader, url: str) -> Iterator[str]:
    """Yield the table of the scripts; the users stay in the database."""
    scripts = reader.folder / "scripts"
    lines = (reader.folder / "users.csv").read_text().splitlines(keepends=True)
    (reader.folder / "few.csv").write_text("".join(lines[:101]))
    (reader.folder / "some.csv").write_text("".join(lines[: SOME + 1]))

    def script(name: str, *arguments: str) -> tuple[float, float]:
        command = [sys.executable, f"scripts/{name}.py", *arguments]
        return measure(command, reader.folder, reader.environment)

    for name, work in {"add": ADD, "flush": FLUSH, "find": FIND}.items():
        (scripts / f"{name}.py").write_text(IMPORTS + NAIVE_IMPORT.format(work=work))
    (scripts / "export_objects.py").write_text(IMPORTS + NAIVE_EXPORT)
    execute(url, "TRUNCATE users CASCADE")
    _, least = script("import_users", "few.csv")
    yield "| Script | Rows | Time | Memory |"
    yield "|---|---|---|---|"
    for text, name, file in (
        ("Insert, in batches", "import_users", "users.csv"),
        ("Insert, `session.add()` for each row", "add", "users.csv"),
        ("Insert, `session.add()` and `flush()` for each row", "flush", "some.csv"),
    ):
        execute(url, "TRUNCATE users CASCADE")
        yield row(text, file, script(name, file), least)
    script("import_users", "users.csv")
    for text, name, file in (
        ("Update, in batches", "import_users", "users.csv"),
        ("Update, a SELECT for each row", "find", "some.csv"),
    ):
        yield row(text, file, script(name, file), least)
    for text, name in (
        ("Export, as a stream", "export_users"),
        ("Export, of objects", "export_objects"),
    ):
        yield row(text, "users.csv", script(name), least)


def pages(reader: Reader, url: str) -> Iterator[str]:
    """Yield the table of the first and last pages, with ``offset`` and ``after``."""
    execute(url, "TRUNCATE users RESTART IDENTITY CASCADE")
    execute(
        url,
        "INSERT INTO users (email, name) "
        f"SELECT i || '@example.com', 'Name' FROM generate_series(1, {USERS}) AS i",
    )
    execute(url, "VACUUM ANALYZE users")
    ways = ("offset", "after")
    places = {"first": 0, "last": USERS - 20}
    seconds: dict[tuple[str, str], list[float]] = {}
    environment = {"DATABASE_URL": url}
    with (
        Service(reader.folder, environment, "shop.main:app") as service,
        httpx2.Client(base_url=service.url) as client,
    ):
        for _ in range(ROUNDS):
            for place, skipped in places.items():
                for way in ways:
                    begun = time.perf_counter()
                    response = client.get("/users", params={way: skipped})
                    duration = time.perf_counter() - begun
                    assert len(response.json()) == 20, response.text
                    seconds.setdefault((place, way), []).append(duration)
    yield f"| Page of 20 of {USERS:,} rows | `offset` | `after` | Ratio |"
    yield "|---|---|---|---|"
    for place in places:
        offset, after = (statistics.median(seconds[place, way]) for way in ways)
        times = f"{offset * 1000:.1f} ms | {after * 1000:.1f} ms"
        yield f"| the {place} | {times} | {offset / after:.1f} |"


def main() -> None:
    """Measure, print the tables, and save them with ``--save``."""
    with ExitStack() as exits:
        servers = SharedServers.start(exits)
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        make_releases(folder / "template")
        (folder / "reader").mkdir()
        reader = exits.enter_context(Reader(folder / "reader"))
        reader.folder /= "shop"
        answers = {"database_url": "postgresql://shop@db/shop"}
        names = {"project_name": "shop", "package_name": "shop"}
        copy(folder / "template", reader.folder, NOW, names | answers)
        url = create_database(servers.url("postgresql"), "shop")
        reader.environment["DATABASE_URL"] = url
        reader.read(PAGE)
        lines = [*pages(reader, url), "", *imports_and_exports(reader, url)]
    tables = "\n".join(lines) + "\n"
    print(tables)
    if "--save" in sys.argv:
        head, begin, _ = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(f"{head}{begin}\n{tables}")


if __name__ == "__main__":
    main()
