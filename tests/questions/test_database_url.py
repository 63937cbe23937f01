"""Tests of the parser of database URLs, compared with SQLAlchemy's."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL, NullPool, create_engine, make_url, text

from support.questions import answer, macros


def parse(url: str) -> dict[str, Any]:
    """Return the parts of ``url`` that the templates use."""
    parts: dict[str, Any] = json.loads(macros("url").parse_url(url))
    return parts


def problem(url: str) -> str:
    """Return what the prompt says about ``url``, or "" if it is accepted."""
    return str(macros("url").url_problem(url)).strip()


@pytest.mark.parametrize(
    ("database_url", "mode", "normalised"),
    [
        ("sqlite:///./app.db", "async", "sqlite+aiosqlite:///./app.db"),
        ("sqlite:////srv/app.db", "async", "sqlite+aiosqlite:////srv/app.db"),
        ("sqlite:///C:\\app.db", "async", "sqlite+aiosqlite:///C:\\app.db"),
        ("sqlite+pysqlite:///app.db", "sync", "sqlite+pysqlite:///app.db"),
        ("sqlite+aiosqlite:///app.db", "async", "sqlite+aiosqlite:///app.db"),
        (
            "sqlite:///my app.db?timeout=9",
            "async",
            "sqlite+aiosqlite:///my app.db?timeout=9",
        ),
        ("postgres://u@h/d", "async", "postgresql+psycopg://u@h/d"),
        ("postgres+asyncpg://u@h/d", "async", "postgresql+asyncpg://u@h/d"),
        ("postgresql://u@h:6543/d", "async", "postgresql+psycopg://u@h:6543/d"),
        ("postgresql://[::1]:5432/d", "async", "postgresql+psycopg://[::1]:5432/d"),
        ("postgresql:///d", "async", "postgresql+psycopg:///d"),
        (
            "postgresql:///d?host=/var/run/postgresql",
            "async",
            "postgresql+psycopg:///d?host=/var/run/postgresql",
        ),
        (
            "postgresql:///d?host=a:1&host=b:2&target_session_attrs=primary",
            "async",
            "postgresql+psycopg:///d?host=a:1&host=b:2&target_session_attrs=primary",
        ),
        ("postgresql+psycopg://h/d", "async", "postgresql+psycopg://h/d"),
        (
            "postgresql+asyncpg://h/d?ssl=require",
            "async",
            "postgresql+asyncpg://h/d?ssl=require",
        ),
        ("mysql://u@h/d", "async", "mysql+asyncmy://u@h/d"),
        ("mysql+aiomysql://u@h/d", "async", "mysql+aiomysql://u@h/d"),
        ("mysql+pymysql://u@h/d", "sync", "mysql+pymysql://u@h/d"),
        ("mariadb://u@h/d", "async", "mariadb+asyncmy://u@h/d"),
        ("mariadb+pymysql://u@h/d", "sync", "mariadb+pymysql://u@h/d"),
        (
            "mysql://u@localhost/d?unix_socket=/run/mysqld/mysqld.sock&charset=utf8mb4",
            "async",
            "mysql+asyncmy://u@localhost/d?unix_socket=/run/mysqld/mysqld.sock&charset=utf8mb4",
        ),
    ],
)
def test_a_url_decides_the_mode_and_is_normalised(
    database_url: str, mode: str, normalised: str
) -> None:
    facts = answer(database_url=database_url)
    assert facts["mode"] == mode
    assert facts["sqlalchemy_url"] == normalised
    assert facts["drivername"] == normalised.partition(":")[0]
    make_url(normalised).get_dialect()


@pytest.mark.parametrize(
    ("database_url", "mode", "driver"),
    [
        ("sqlite:///app.db", "async", "aiosqlite"),
        ("sqlite:///app.db", "sync", "pysqlite"),
        ("postgresql://h/d", "async", "psycopg"),
        ("postgresql://h/d", "sync", "psycopg"),
        ("mysql://h/d", "async", "asyncmy"),
        ("mysql://h/d", "sync", "pymysql"),
        ("mariadb://h/d", "sync", "pymysql"),
    ],
)
def test_without_a_driver_in_the_url_the_mode_decides(
    database_url: str, mode: str, driver: str
) -> None:
    assert answer(database_url=database_url, mode=mode)["driver"] == driver


@pytest.mark.parametrize("url", ["postgresql://h/a%20b", "mysql://h/a b"])
def test_the_name_of_the_database_is_decoded(url: str) -> None:
    assert answer(database_url=url)["url"]["database"] == "a b"


def keeps_a_file(database_url: str) -> bool:
    """Return whether SQLite keeps the data of this URL in a file."""
    url = make_url(database_url).set(drivername="sqlite")
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return bool(connection.execute(text("PRAGMA database_list")).one().file)


@pytest.mark.parametrize(
    "database_url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://?timeout=9",
        "sqlite+aiosqlite://",
        "sqlite+pysqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:app?mode=memory&cache=shared&uri=true",
    ],
)
def test_a_url_in_memory_is_refused(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not keeps_a_file(database_url)
    assert problem(database_url) == "Name a file: sqlite:///./app.db"


@pytest.mark.parametrize(
    "database_url",
    [
        "sqlite:///file:app?mode=rwc&uri=true",
        "sqlite:///./memory.db",
        "sqlite:///:memory:.db",
    ],
)
def test_accepted_sqlite_urls_name_a_file(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert keeps_a_file(database_url)
    assert problem(database_url) == ""


WORDS = st.text("ab1.~é 😀%@:/?#[]&=+-_", min_size=1, max_size=8)
ENCODED = WORDS.map(lambda word: quote(word, safe=""))
DRIVERS = {
    "postgres": ["", "+psycopg", "+asyncpg"],
    "postgresql": ["", "+psycopg", "+asyncpg"],
    "mysql": ["", "+asyncmy", "+aiomysql", "+pymysql"],
    "mariadb": ["", "+asyncmy", "+aiomysql", "+pymysql"],
}
SERVERS = [dialect + driver for dialect in DRIVERS for driver in DRIVERS[dialect]]
OTHERS = ["sqlite", "sqlite+aiosqlite", "sqlite+pysqlite", "oracle", "mysql+mysqldb"]
HOSTS = st.sampled_from(
    ["", "localhost", "db.example.com", "127.0.0.1", "[::1]", "[fe80::1]"]
)
PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda port: f":{port}"))
OPTIONS = st.lists(st.builds("{}={}".format, ENCODED, ENCODED), max_size=3).map(
    lambda options: "?" + "&".join(options) if options else ""
)
GOOD_URLS = st.builds(
    "{}://{}{}{}/{}{}".format,
    st.sampled_from(SERVERS),
    ENCODED.map(lambda user: user + "@") | st.just(""),
    HOSTS,
    PORTS,
    ENCODED,
    OPTIONS,
)
ANY_URLS = st.builds(
    "{}:{}{}".format,
    st.sampled_from(SERVERS + OTHERS),
    st.sampled_from(["//", "///", "/"]),
    WORDS,
)


def sqlalchemy_reads(url: str) -> URL:
    """Return the URL as SQLAlchemy parses it; it does not know the name `postgres`."""
    return make_url(re.sub("^postgres(?=[+:])", "postgresql", url))


def assert_read_alike(url: str) -> None:
    """Assert that the macro and SQLAlchemy parse an accepted URL in the same way."""
    ours, theirs = parse(url), sqlalchemy_reads(url)
    assert theirs.password is None
    assert ours["dialect"] == theirs.get_backend_name()
    assert ours["driver"] == theirs.drivername.partition("+")[2]
    assert ours["user"] == (theirs.username or "")
    assert ours["host"] == (theirs.host or "")
    assert ours["port"] == (None if theirs.port is None else str(theirs.port))
    assert ours["database"] == (theirs.database or "")
    # SQLAlchemy omits options without a value, and makes a tuple of repeated ones.
    assert {key: value for key, value in ours["options"].items() if value} == {
        key: value if isinstance(value, str) else value[0]
        for key, value in theirs.query.items()
    }
    assert make_url(f"{theirs.drivername}://{ours['rest']}") == theirs


@given(GOOD_URLS)
@settings(deadline=None)
def test_a_valid_url_is_parsed_as_by_sqlalchemy(url: str) -> None:
    assume("passw" not in url.lower())
    assert problem(url) == ""
    assert_read_alike(url)


@given(ANY_URLS)
@example("postgresql://a@b@host/db")
@example("postgresql://host:1/db?x=a@b:c")
@example("postgresql://[::1]x/db")
@example("postgresql://h:05432/db")
@example("sqlite:///a%zz%e9%41")
@example("postgresql://host/db?a+b=c+d&e&=f&g=h&g=i")
@settings(deadline=None, max_examples=1000)
def test_accepted_urls_are_parsed_as_by_sqlalchemy(url: str) -> None:
    if not problem(url):
        assert_read_alike(url)


@given(st.sampled_from(SERVERS), ENCODED, ENCODED, HOSTS)
@settings(deadline=None)
def test_a_url_with_a_password_is_refused(
    scheme: str, user: str, password: str, host: str
) -> None:
    url = f"{scheme}://{user}:{password}@{host}/db"
    assert sqlalchemy_reads(url).password is not None
    assert problem(url) == "Put the password in .env instead"


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "passwd",
        "PASSWORD",
        "sslpassword",
        "p%61ssword",
        "%70%61%73%73%77%64",
        "pwd",
    ],
)
@pytest.mark.parametrize("query", ["{}=x", "a=b&{}=x", "{}=x&a=b", "{}="])
def test_a_password_in_the_query_is_refused(key: str, query: str) -> None:
    url = "postgresql://host/db?" + query.format(key)
    assert problem(url) == "Put the password in .env instead"


@pytest.mark.parametrize("query", ["passfile=/etc/pgpass", "application_name=password"])
def test_options_that_mention_passwords_are_accepted(query: str) -> None:
    assert problem("postgresql://host/db?" + query) == ""


INVALID_URLS = {
    "Use a URL like sqlite:///./app.db": [
        "",
        "app.db",
        "postgresql:/host/db",
        "postgresql+://host/db",
        " postgresql://host/db",
        "postgresql://host/db\n",
        "postgresql://host/d%0Ab",
    ],
    "Use sqlite, postgresql or mysql": ["oracle://host/db", "PostgreSQL://host/db"],
    "Use psycopg or asyncpg": [
        "postgresql+psycopg2://host/db",
        "postgresql+pymysql://host/db",
        "postgresql+asyncpg+x://host/db",
    ],
    "Use asyncmy or aiomysql or pymysql": [
        "mysql+mysqldb://host/db",
        "mariadb+mariadbconnector://host/db",
    ],
    "Use aiosqlite or pysqlite": ["sqlite+sqlcipher:///app.db"],
    "Use 3 slashes: sqlite:///./app.db": ["sqlite://app.db", "sqlite://user@/app.db"],
    "Use file: together with uri=true": [
        "sqlite:///file:app.db",
        "sqlite:///app.db?uri=true",
    ],
    "Use a port from 1 to 65535": [
        "postgresql://host:/db",
        "postgresql://host:0/db",
        "postgresql://host:65536/db",
        "postgresql://[::1]x/db",
    ],
    "Use ?host=a:5432&host=b:5432": ["postgresql://host:5432,other:5432/db"],
    "Use target_session_attrs=primary": [
        "postgresql://a/db?target_session_attrs=read-write"
    ],
    "Add the database, like host/app": [
        "postgresql://host",
        "postgresql://host/",
        "mysql://host?charset=utf8mb4",
    ],
    "Put the password in .env instead": [
        "postgresql://user:@host/db",
        "postgresql://host:1/db?x=a@b",
    ],
}
"""URLs that are refused, by the remedy."""


@pytest.mark.parametrize(
    ("url", "remedy"),
    [(url, remedy) for remedy, urls in INVALID_URLS.items() for url in urls],
)
def test_an_invalid_url_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    assert problem(url) == remedy
