"""Create and drop databases on a server, and execute single statements."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy import URL, NullPool, create_engine, make_url

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}

LIST = {
    "postgresql": "SELECT datname FROM pg_database",
    "mysql": "SHOW DATABASES",
}


def create_database(url: str, name: str) -> str:
    """Create a database on the server at ``url``; return its URL."""
    parts = make_url(url)
    execute(url, f"CREATE DATABASE {quoted(parts, name)}")
    return parts.set(database=name).render_as_string(hide_password=False)


@contextmanager
def temporary_database(server_url: str) -> Iterator[str]:
    """Create a database on the server; yield its URL, and drop it at the end."""
    url = create_database(server_url, f"temporary-{uuid4().hex}")
    try:
        yield url
    finally:
        drop_databases(url)


def drop_databases(url: str) -> list[str]:
    """Drop the database at ``url``, and all databases whose names begin with its name.

    Return what was wrong: other databases, tables in this one, or that it was missing.
    """
    parts = make_url(url)
    assert parts.database
    server = parts.set(database=maintenance_database(parts.drivername))
    server_url = server.render_as_string(hide_password=False)
    schema = "public" if parts.drivername.startswith("postgresql") else parts.database
    names = execute(server_url, LIST[parts.get_backend_name()])
    ours = [name for name in names if name.startswith(parts.database)]
    findings = [
        f"database left behind: {name}" for name in ours if name != parts.database
    ]
    if parts.database in ours:
        tables = execute(
            url,
            "SELECT table_name FROM information_schema.tables "
            f"WHERE table_schema = '{schema}'",
        )
        if tables:
            findings.append(f"the development database was written to: {tables}")
    else:
        findings.append("the development database was dropped")
    for name in ours:
        execute(server_url, f"DROP DATABASE {quoted(parts, name)}")
    return findings


def quoted(url: URL, name: str) -> str:
    """Return ``name`` as a quoted SQL identifier for the server at ``url``."""
    return url.get_dialect()().identifier_preparer.quote_identifier(name)


def maintenance_database(drivername: str) -> str:
    """Return the name of the database that exists on every server of this kind."""
    return "postgres" if drivername.startswith("postgresql") else "mysql"


def execute(url: str, statement: str) -> list[str]:
    """Execute a statement outside a transaction; return the first column of its result.

    Raises SQLAlchemy's OperationalError if the server does not answer.
    """
    parts = make_url(url)
    options: dict[str, object] = {"connect_timeout": 2}
    if parts.get_backend_name() == "mysql":
        # A TLS context takes 30 ms to create, and the local servers do not use TLS.
        options |= {"read_timeout": 10, "ssl_disabled": parts.host == "127.0.0.1"}
    engine = create_engine(
        parts.set(drivername=DRIVERS[parts.get_backend_name()]),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        execution_options={"no_parameters": True},  # A "%" is not a placeholder.
        connect_args=options,
    )
    with engine.connect() as connection:
        result = connection.exec_driver_sql(statement)
        return [str(row[0]) for row in result] if result.returns_rows else []
