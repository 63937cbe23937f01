"""Counts SQL statements, to detect a query for each row of a result (N+1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

TRANSACTIONS = ("BEGIN", "SAVEPOINT", "RELEASE", "ROLLBACK")


@contextmanager
def assert_statements(expected: int) -> Iterator[None]:
    """Check that the block executes `expected` statements, on any engine.

    Raises AssertionError that lists the statements.
    """
    statements: list[str] = []

    def collect(connection: object, cursor: object, statement: str, *_: Any) -> None:
        if not statement.startswith(TRANSACTIONS):
            statements.append(" ".join(statement.split()))

    event.listen(Engine, "before_cursor_execute", collect)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", collect)
    assert len(statements) == expected, (
        f"{len(statements)} statements instead of {expected}; if one is repeated for each "
        "row, load the relationship with the query: .options(selectinload(...))\n"
        + "\n".join(statements)
    )
