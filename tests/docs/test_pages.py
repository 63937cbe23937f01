"""Tests of the documentation: all pages are followed, and all that they name exists."""

import ast
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from support import fork_server
from support.databases import create_database, drop_databases, execute
from support.page_checks import CHECKS
from support.pages import Reader, blocks, commands
from support.processes import SCRIPTS, commit, git
from support.servers import PASSWORD, USER, PostgresServer, postgres_binaries
from support.service_checker import check_style
from support.shared_servers import SharedServers
from support.template import NOW, ROOT, TAGS, copy
from support.topologies import PgBouncer, PostgresStandby
from tools import picture, reference

DOCS = ROOT / "docs"
HOW_TO = sorted(f"how-to/{path.name}" for path in (DOCS / "how-to").glob("*.md"))
POSTGRESQL = {"database_url": "postgresql://shop@db/shop"}
ON_SEVERAL_SERVERS = (
    "how-to/pgbouncer.md",
    "how-to/read-replica.md",
    "how-to/failover.md",
)
"""The pages whose service uses several servers with PostgreSQL."""
ANSWERS = dict.fromkeys((*CHECKS, *ON_SEVERAL_SERVERS), POSTGRESQL)
"""The answers for the service of a page, if it does not use the defaults."""
IN_MEMORY = "v0.3.1"
"""The last release that renders services with in-memory SQLite databases."""
NOT_FOLLOWED = {
    "benchmarks.md": "takes 40 minutes",
    "releasing.md": "makes a release",
    "update.md": "has a test of its own, below",
}


@pytest.fixture
def reader(mypy_cache: Path, tmp_path: Path) -> Iterator[Reader]:
    """Provide a reader that follows a page in an empty folder."""
    with Reader(tmp_path) as reader:
        reader.environment["MYPY_CACHE_DIR"] = str(mypy_cache)
        yield reader


def check(reader: Reader, mypy_cache: Path) -> None:
    """Check that the service passes its own checks after the page."""
    assert check_style(reader.folder) == []
    assert fork_server.check_types(reader.folder, mypy_cache) == []


def test_tutorial(reader: Reader, releases: Path, mypy_cache: Path) -> None:
    """The commands print what the page shows."""
    (reader.folder / "copier-fastapi-sqlalchemy").symlink_to(releases)
    reader.read(DOCS / "tutorial.md")
    check(reader, mypy_cache)


@pytest.mark.parametrize("page", HOW_TO)
def test_how_to(
    page: str,
    reader: Reader,
    releases: Path,
    servers: SharedServers,
    mypy_cache: Path,
) -> None:
    """Each page starts with a new service called shop."""
    reader.folder /= "shop"
    names = {"project_name": "shop", "package_name": "shop"}
    copy(releases, reader.folder, NOW, names | ANSWERS.get(page, {}))
    if page == "how-to/postgresql.md":
        follow_the_move(reader, servers)
    elif page in ON_SEVERAL_SERVERS:
        follow_on_several_servers(reader, DOCS / page)
    elif page in CHECKS:
        url = create_database(servers.url("postgresql"), f"d{uuid4().hex}")
        reader.environment["DATABASE_URL"] = url
        try:
            CHECKS[page](reader, DOCS / page)
        finally:
            reader.stop()
            drop_databases(url)
    else:
        reader.read(DOCS / page)
    check(reader, mypy_cache)


def follow_the_move(reader: Reader, servers: SharedServers) -> None:
    """Follow the page with a user and a post, and check that PostgreSQL has them."""
    reader.type("uv run alembic upgrade head")
    with closing(sqlite3.connect(reader.folder / "shop.db")) as database, database:
        database.execute("INSERT INTO users (email, name) VALUES ('a@b.de', 'Ada')")
        database.execute(
            "INSERT INTO posts (public_id, title, body, slug, author_id)"
            " VALUES (?, 'Looms', 'Words.', 'looms', 1)",
            [uuid4().hex],
        )
    url = create_database(servers.url("postgresql"), f"d{uuid4().hex}")
    try:
        place = make_url(url)
        reader.stands_for["shop@127.0.0.1:5432/shop"] = (
            f"{place.username}@{place.host}:{place.port}/{place.database}"
        )
        reader.environment["DATABASE_PASSWORD"] = str(place.password)
        reader.read(DOCS / "how-to/postgresql.md")
        query = "SELECT title FROM posts JOIN users ON users.id = author_id"
        assert execute(url, query) == ["Looms"]
        assert execute(url, "SELECT nextval('posts_id_seq')") == ["2"]
    finally:
        drop_databases(url)


def follow_on_several_servers(reader: Reader, page: Path) -> None:
    """Follow a page with a primary on port 5432, a standby, and a pooler."""
    with ExitStack() as exits:
        primary = exits.enter_context(PostgresServer(postgres_binaries()))
        create_database(primary.url(), "shop")
        reader.environment["DATABASE_PASSWORD"] = PASSWORD
        reader.stands_for |= {
            "shop@127.0.0.1:5432": f"{USER}@127.0.0.1:{primary.port}",
            "127.0.0.1:5432": f"127.0.0.1:{primary.port}",
            "user=shop": f"user={USER}",
        }
        if "pgbouncer.ini" in page.read_text():
            pooler = PgBouncer(primary)
            [block] = [each for each in blocks(page) if each.title == "pgbouncer.ini"]
            pooler.configuration = (
                block.text.replace("shop =", "* =")
                .replace("port=5432", f"port={primary.port}")
                .replace("6432", str(pooler.port))
                + f"unix_socket_dir = {pooler.directory}\n"
            )
            exits.enter_context(pooler)
            own = f"{USER}@127.0.0.1:{pooler.port}"
            reader.stands_for["shop@127.0.0.1:6432"] = own
        else:
            standby = exits.enter_context(PostgresStandby(primary))
            reader.stands_for |= {
                "shop@127.0.0.1:5433": f"{USER}@127.0.0.1:{standby.port}",
                "127.0.0.1:5433": f"127.0.0.1:{standby.port}",
            }
        reader.read(page)


def test_update(reader: Reader, releases: Path) -> None:
    """In a service of the first release, each command does what the text says."""
    reader.folder /= "service"
    copy(releases, reader.folder, TAGS[0], {})
    models = reader.folder / "src/service/users/models.py"
    key = "primary_key=True)"
    models.write_text(models.read_text().replace(key, f"{key}  # Never used again."))
    session = reader.folder / "src/service/db/session.py"
    printed = {}
    consoles = [
        each for each in blocks(DOCS / "update.md") if each.language == "console"
    ]
    for command, _ in [pair for block in consoles for pair in commands(block)]:
        if command.startswith("uvx copier"):
            commit(reader.folder, "Before an update")
        printed[command] = reader.type(command)
        if command.endswith("transaction=explicit"):
            assert "refuse_uncommitted_changes" in session.read_text()
        elif command.endswith("example=false"):
            rejected = models.with_name("models.py.rej").read_text()
            assert "Never used again." in rejected
    assert "New template version available" in printed["uvx copier check-update"]
    assert "passed" in printed["uv run pytest"]
    log = printed["git log --patch -- src/service/users/models.py"]
    assert "Never used again." in log


def test_update_of_a_service_in_memory(reader: Reader, releases: Path) -> None:
    """The command switches to a database in a file, without Alembic."""
    reader.folder /= "service"
    copy(releases, reader.folder, IN_MEMORY, {"database_url": "sqlite://"})
    [command] = [
        block.text.strip()
        for block in blocks(DOCS / "update.md")
        if "alembic=false" in block.text
    ]
    reader.type(command)
    answers = (reader.folder / ".copier-answers.yml").read_text()
    assert "database_url: sqlite:///./shop.db\n" in answers
    assert not (reader.folder / "migrations").exists()
    reader.type("uv run pytest", "passed")


def test_an_update_without_a_terminal_says_what_to_do(
    reader: Reader, releases: Path
) -> None:
    reader.folder /= "service"
    copy(releases, reader.folder, TAGS[0], {})
    with pytest.raises(AssertionError, match="Use `--defaults`"):
        reader.run("uvx copier update")
    assert git(reader.folder, "status", "--porcelain") == ""


def test_pages_that_are_not_followed_contain_no_code() -> None:
    """Only pages that the tests above follow contain commands, code or files."""
    followed = {"tutorial.md", *HOW_TO, *NOT_FOLLOWED}
    for path in DOCS.rglob("*.md"):
        name = str(path.relative_to(DOCS))
        if name not in followed:
            kinds = {block.language for block in blocks(path)}
            assert kinds <= {"diff", "text"}, name


def test_tests_that_the_promises_name_exist() -> None:
    text = (DOCS / "promises.md").read_text()
    named = re.findall(r"`(tests/(?:faults/|db/)?test_\w+\.py)::(\w+)`", text)
    assert len(named) > 30
    for file, test in named:
        folder, _, name = file.rpartition("/")
        if folder == "tests/faults":
            path = ROOT / file
        else:  # The file name in the template may contain a condition.
            [path] = (ROOT / "template" / folder).glob(f"*{name}*")
        assert f"def {test}(" in path.read_text(), f"{file}::{test}"


def test_readme_shows_code_that_is_rendered(releases: Path, tmp_path: Path) -> None:
    """The code is that of the default answers, without docstrings."""
    copy(releases, tmp_path / "service", NOW, {})
    package = tmp_path / "service/src/service"
    rendered = {
        statement
        for path in (package / "users/routes.py", package / "db/session.py")
        for statement in statements(path.read_text())
    }
    [sample] = [
        each for each in blocks(ROOT / "README.md") if each.language == "python"
    ]
    assert statements(sample.text) <= rendered


def statements(code: str) -> set[str]:
    """Return the statements of a module, without docstrings."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() if ast.get_docstring(node):
                del node.body[0]
    return {ast.unparse(statement) for statement in tree.body}


def test_reference_is_current() -> None:
    """If this fails, run `uv run python -m tools.reference`."""
    for name, text in reference.pages().items():
        assert (reference.FOLDER / name).read_text() == text


def test_picture_shows_what_is_asked() -> None:
    """If this fails, run `uv run python -m tools.picture`. It compares only text."""
    drawn = picture.draw(picture.session())
    assert picture.text_of(picture.PICTURE.read_text()) == picture.text_of(drawn)


def test_files_that_pages_link_to_exist() -> None:
    """The builder of the site does not check all links, such as those to images."""
    for page in (*ROOT.glob("*.md"), *DOCS.rglob("*.md")):
        targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
        for target in targets:
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_site_is_built_strictly(tmp_path: Path) -> None:
    """The navigation lists only existing pages, and all pages are built."""
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    done = subprocess.run(
        [SCRIPTS / "zensical", "build", "--strict", "--clean"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for path in DOCS.rglob("*.md"):
        page = path.relative_to(DOCS).with_suffix("")
        built = "index.html" if page.name == "index" else f"{page}/index.html"
        assert (tmp_path / "site" / built).exists(), page
