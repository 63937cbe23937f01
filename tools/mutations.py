"""Breaks promises of rendered services, one at a time; a test of each has to fail.

uv run python -m tools.mutations [part of a name]
"""

import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from copier import run_copy

from support import fork_server
from support.databases import temporary_database
from support.shared_servers import SharedServers
from support.template import copy_template
from support.variants import BACKENDS

ENGINE, SESSION = "src/service/db/engine.py", "src/service/db/session.py"
LIMITER, ERRORS = "src/service/db/limiter.py", "src/service/db/errors.py"
NESTING, BASE = "src/service/db/nesting.py", "src/service/db/base.py"
TRACKING, SETTINGS = "src/service/db/write_tracking.py", "src/service/settings.py"
API_ERRORS, HEALTH = "src/service/api_errors.py", "src/service/health.py"
FAILOVER, PRE_PING = "src/service/db/failover.py", "src/service/db/pre_ping.py"
REPLICA_FILE = "src/service/db/read_replica.py"
INVALID_STATEMENTS = "src/service/db/invalid_statements.py"
SLOW_LOG, TELEMETRY = "src/service/db/slow_log.py", "src/service/db/telemetry.py"
LOGS, OPENTELEMETRY = "src/service/logs.py", {"telemetry": "opentelemetry"}
SYNC = {"mode": "sync"}
ASYNCPG = {"driver": "asyncpg"}
EXPLICIT = {"transaction": "explicit"}
POOLER = {"pooler": "transaction"}
REPLICA = {"read_replica": True}


@dataclass(frozen=True)
class Mutation:
    """A replacement of code in a service."""

    name: str
    path: str
    old: str
    new: str
    backend: str = "postgresql"
    answers: Mapping[str, Any] = field(default_factory=dict)


MUTATIONS = [
    Mutation("sessions end after the response", SESSION, '"function"', '"request"'),
    Mutation(
        "commit after an error",
        SESSION,
        "            yield session\n            await session.commit()",
        "            try:\n                yield session\n"
        "            finally:\n                await session.commit()",
    ),
    Mutation("no commit", SESSION, "await session.commit()", "pass"),
    Mutation(
        "closed sessions open again",
        SESSION,
        "close_resets_only=False",
        "close_resets_only=True",
    ),
    Mutation(
        "events use the session",
        SESSION,
        "if session.in_transaction():  # An unused session needs no thread.",
        "if True:",
        answers=SYNC,
    ),
    Mutation(
        "a forgotten write is lost",
        SESSION,
        "if session.new or session.dirty or session.deleted:",
        "if False:",
    ),
    *(
        Mutation(
            f"the read engine writes, {backend}",
            ENGINE,
            old,
            new,
            backend=backend,
            answers=answers,
        )
        for backend, answers, old, new in [
            ("postgresql", {}, 'read_only"] = "on"', 'read_only"] = "off"'),
            ("postgresql", ASYNCPG, 'read_only"] = "on"', 'read_only"] = "off"'),
            ("mysql", SYNC, "tx_read_only = 1", "tx_read_only = 0"),
            ("sqlite", {}, "query_only = ON", "query_only = OFF"),
        ]
    ),
    Mutation(
        "permits are kept", LIMITER, "            limiter.release()", "            pass"
    ),
    Mutation(
        "a permit for each session",
        LIMITER,
        'sessions = scope.get("database_sessions", 0)',
        "sessions = 0",
    ),
    Mutation(
        "no limit to the queue",
        LIMITER,
        "timeout(settings.database_pool_timeout)",
        "timeout(None)",
    ),
    Mutation(
        "a disconnected client is served after a long wait",
        LIMITER,
        "waited > LONG_WAIT",
        "False",
    ),
    Mutation(
        "the queue reads the body of the endpoint",
        LIMITER,
        ".body_field is None",
        '.body_field == ""',
    ),
    Mutation(
        "no spare connection",
        ENGINE,
        "settings.database_max_overflow + 1",
        "settings.database_max_overflow",
    ),
    Mutation("nesting without a limit", NESTING, "len(outer) > 1", "len(outer) > 9"),
    Mutation(
        "nested writes on SQLite",
        NESTING,
        "    if any(each.is_open for each in enclosing.get()):",
        "    if False:",
        backend="sqlite",
    ),
    Mutation(
        "invalid prepared statements stay",
        INVALID_STATEMENTS,
        'if function == "RevalidateCachedQuery":',
        "if False:",
    ),
    Mutation(
        "a model's own mapper arguments turn the fetching of defaults off",
        BASE,
        "mapper.eager_defaults is not False",
        "mapper.eager_defaults",
    ),
    Mutation(
        "a task inherits a session that has ended",
        NESTING,
        "        session.is_open = False",
        "        pass",
    ),
    Mutation(
        "a duplicate primary key has no column",
        ERRORS,
        'if names[-1:] == ["PRIMARY"]:',
        "if False:",
        backend="mysql",
    ),
    Mutation(
        "a value is taken for a name",
        ERRORS,
        "names[-1], names[-1:]",
        "names[0], names[:1]",
        backend="mysql",
    ),
    Mutation(
        "tables without a model are an internal error",
        ERRORS,
        "Base.metadata.tables.get(table[1])",
        "Base.metadata.tables[table[1]]",
        backend="sqlite",
    ),
    Mutation(
        "constraints of columns are not known",
        ERRORS,
        "for check in column.constraints",
        "for check in ()",
    ),
    *(
        Mutation(name, ERRORS, old, new, backend="sqlite")
        for name, old, new in [
            ("RESTRICT is an internal error", '== "FOREIGN KEY', '== "'),
            (
                "large integers are an internal error",
                "error, OverflowError",
                "error, EOFError",
            ),
            (
                "words of the driver are columns",
                'message.partition("failed: ")[2]',
                "message",
            ),
        ]
    ),
    Mutation(
        "an INSERT in a CTE is a read",
        TRACKING,
        "elif not writes:",
        "elif False:",
        answers=EXPLICIT,
    ),
    Mutation(
        "the change of a deleted row is an internal error",
        API_ERRORS,
        "app.exception_handler(StaleDataError)",
        "app.exception_handler(KeyError)",
    ),
    Mutation(
        "remedies are logged twice",
        API_ERRORS,
        "error.add_note(line)",
        "pass",
    ),
    Mutation(
        "WebSockets hold permits",
        LIMITER,
        "if not isinstance(http, Request):",
        "if False:",
    ),
    Mutation(
        "WebSockets hold sessions",
        SESSION,
        "if not isinstance(http, Request):",
        "if False:",
        answers={"pool": "null"},
    ),
    Mutation(
        "no statement timeout",
        ENGINE,
        '"statement_timeout": f"{settings.database_statement_timeout}s"',
        '"statement_timeout": "0"',
    ),
    Mutation("no ping", PRE_PING, "do_ping(connection)", "name"),
    Mutation("busy connections are pinged", PRE_PING, "> IDLE_LIMIT", "> -1"),
    Mutation(
        "too many connections are not logged",
        "src/service/db/connection_limit.py",
        "if needed > allowed",
        "if False",
    ),
    Mutation(
        "one worker is counted",
        "src/service/db/connection_limit.py",
        "settings.web_concurrency * ",
        "",
    ),
    Mutation(
        "another pool size",
        ENGINE,
        "pool_size=settings.database_pool_size",
        "pool_size=3",
    ),
    Mutation("any error is retried", SESSION, "or not is_retryable(error)", ""),
    Mutation(
        "no error is retried",
        ERRORS,
        "return error_kind(error) is ErrorKind.RETRYABLE",
        "return False",
    ),
    Mutation(
        "a deadlock is unknown",
        ERRORS,
        '    "40P01": ErrorKind.RETRYABLE,',
        '    "40P99": ErrorKind.RETRYABLE,',
    ),
    Mutation(
        "errors name no column",
        ERRORS,
        "return columns.get(name, [name]) if name else []",
        "return []",
    ),
    Mutation(
        "a lost connection is a 500",
        ERRORS,
        "is_lost = error.connection_invalidated or error.statement is None",
        "is_lost = False",
    ),
    Mutation(
        "a model without a migration",
        "src/service/users/models.py",
        "    name: Mapped[str] = mapped_column(String(100))",
        "    name: Mapped[str] = mapped_column(String(101))",
    ),
    Mutation(
        "deletion sets foreign keys to null",
        "src/service/users/models.py",
        ', passive_deletes="all"',
        "",
    ),
    Mutation(
        "secrets in errors",
        SETTINGS,
        "hide_input_in_errors=True",
        "hide_input_in_errors=False",
    ),
    Mutation(
        "DATABASE_PASSWORD has priority",
        SETTINGS,
        "if self.database_password and self.database_url.password is None:",
        "if self.database_password:",
    ),
    Mutation(
        "deferred transactions", ENGINE, "BEGIN IMMEDIATE", "BEGIN", backend="sqlite"
    ),
    Mutation(
        "a failed commit stays open",
        ENGINE,
        "                connection.rollback()",
        "                pass",
        backend="sqlite",
    ),
    Mutation(
        "no foreign keys",
        ENGINE,
        "foreign_keys = ON",
        "foreign_keys = OFF",
        backend="sqlite",
    ),
    Mutation(
        "a flush is not tracked",
        TRACKING,
        '@event.listens_for(TrackedSession, "after_flush")\n',
        "",
        answers=EXPLICIT,
    ),
    Mutation(
        "a statement is not tracked",
        TRACKING,
        "    if writes:",
        "    if False:",
        answers=EXPLICIT,
    ),
    Mutation(
        "unflushed changes are ignored",
        TRACKING,
        "if session.new or session.deleted or changed or",
        "if",
        answers=EXPLICIT,
    ),
    Mutation(
        "the tables are given up",
        "src/service/db/tables.py",
        "            await asyncio.sleep(pause)",
        "            return",
        answers={"alembic": False},
    ),
    Mutation(
        "times without a zone",
        BASE,
        "value.replace(tzinfo=UTC)",
        "value",
        backend="sqlite",
    ),
    Mutation(
        "the zone of the server",
        ENGINE,
        "'+00:00'",
        "'+05:00'",
        backend="mysql",
        answers=SYNC,
    ),
    Mutation(
        "no fractions of seconds",
        BASE,
        "func.now(6)",
        "func.now()",
        backend="mysql",
        answers=SYNC,
    ),
    Mutation(
        "readiness waits for a permit's pool",
        HEALTH,
        "if current_check is None or current_check.done():",
        "if True:",
    ),
    Mutation(
        "readiness without a limit",
        HEALTH,
        "timeout=settings.database_connect_timeout",
        "timeout=None",
        answers=ASYNCPG,
    ),
    *(
        Mutation(
            f"a connection to a standby is kept, {backend}",
            FAILOVER,
            "is_disconnect = True",
            "is_disconnect = False",
            backend=backend,
        )
        for backend in ("postgresql", "mysql")
    ),
    Mutation(
        "the read engine writes behind a pooler",
        ENGINE,
        'transaction_read_only"] = "on"',
        'transaction_read_only"] = "off"',
        answers=POOLER,
    ),
    Mutation(
        "no timeouts behind a pooler",
        ENGINE,
        "connection.execute(set_config)",
        "pass",
        answers=POOLER | ASYNCPG,
    ),
    *(
        Mutation(name, REPLICA_FILE, old, new, answers=REPLICA)
        for name, old, new in [
            (
                "own writes are missed",
                "return await has_replayed(replica.engine, position)",
                "return True",
            ),
            (
                "a false position is asked for",
                "if not POSITION_FORM.fullmatch(position)",
                "if False",
            ),
            (
                "a replica that lags is read",
                "<= settings.database_read_max_lag",
                "< math.inf",
            ),
            (
                "the fallback cannot be turned off",
                "elif not settings.database_read_fallback",
                "elif False",
            ),
            (
                "a replica that is down is read",
                "self._replayed_until = -math.inf\n            raise",
                "raise",
            ),
            ("nobody watches", "await self.check()", "pass"),
            ("writes are not noted", 'scope["has_written"] = True', "pass"),
        ]
    ),
    Mutation(
        "own writes are missed, mysql",
        REPLICA_FILE,
        ">= CAST(substring_index(:position, '-', -1) AS unsigned)",
        ">= 0",
        backend="mysql",
        answers=SYNC | REPLICA,
    ),
    Mutation(
        "the log has parameters",
        SLOW_LOG,
        "statement=statement)\n    return",
        'statement=f"{statement} {rest[0]}")\n    return',
    ),
    Mutation("statements are never slow", SLOW_LOG, "if 0 <", "if False and 0 <"),
    Mutation("off is a threshold of 0", SLOW_LOG, "if 0 <", "if 0 <="),
    Mutation(
        "failures are not timed",
        SLOW_LOG,
        '    finally:\n        log_if_slow("statement"',
        "    except ZeroDivisionError:\n        pass\n    else:\n"
        '        log_if_slow("statement"',
    ),
    Mutation(
        "an unreachable server is a 500",
        SLOW_LOG,
        "except OSError",
        "except ZeroDivisionError",
        answers=ASYNCPG,
    ),
    Mutation(
        "waits for a permit are not logged",
        LIMITER,
        'log_if_slow("wait for a permit", begun)',
        "pass",
    ),
    Mutation(
        "any id is taken", LOGS, "if not REQUEST_ID.fullmatch(request_id):", "if 0:"
    ),
    Mutation(
        "the client's id is not taken",
        LOGS,
        "if not REQUEST_ID.fullmatch(request_id):",
        "if 1:",
    ),
    Mutation(
        "errors have no id",
        LOGS,
        "app.exception_handler(Exception)(handle_unexpected_error)",
        "pass",
    ),
    Mutation("uvicorn's lines are its own", LOGS, '"uvicorn", "uvicorn.access", ', ""),
    Mutation("Gunicorn writes errors", LOGS, '"uvicorn.error", ', ""),
    Mutation("statements are echoed twice", LOGS, ', "sqlalchemy.engine.Engine"', ""),
    Mutation(
        "lines have no request", LOGS, "if scope := request_scope.get():", "if False:"
    ),
    Mutation("no traceback", LOGS, "if record.exc_info:", "if False:"),
    Mutation(
        "an error outside of the middleware has no response",
        LOGS,
        'getattr(request.state, "request_id", None)',
        "request.state.request_id",
    ),
    Mutation(
        "an error of all settings crashes",
        SETTINGS,
        ' if problem["loc"] else ""',
        "",
    ),
    Mutation(
        "waits for the replica are recorded as the primary's",
        LIMITER,
        'else "replica limiter"',
        'else "limiter"',
        answers=REPLICA | OPENTELEMETRY,
    ),
    Mutation(
        "readiness does not read the file",
        HEALTH,
        "SELECT 1 FROM sqlite_master",
        "SELECT 1",
        backend="sqlite",
    ),
    Mutation(
        "tables without a type are tried again",
        "src/service/db/tables.py",
        "except CompileError:",
        "except ZeroDivisionError:",
        answers={"alembic": False},
    ),
    Mutation(
        "a silent server is waited for",
        ENGINE,
        "timeout(settings.database_connect_timeout)",
        "timeout(None)",
        backend="mysql",
        answers={"driver": "asyncmy"},
    ),
    Mutation(
        "a lost connection has no reason",
        ENGINE,
        'DatabaseUnreachableError("the connection was lost")',
        "DatabaseUnreachableError",
        backend="mysql",
        answers={"driver": "aiomysql"},
    ),
    Mutation(
        "a slug is longer than its column",
        "src/service/posts/routes.py",
        're.findall("[A-Za-z0-9]+", title)',
        're.findall("[a-z0-9]+", title.lower())',
    ),
    Mutation(
        "lazy loads have no remedy", API_ERRORS, "if \"lazy='raise'\" in", "if 0 and"
    ),
    *(
        Mutation(name, TELEMETRY, old, new, answers=OPENTELEMETRY)
        for name, old, new in [
            (
                "spans have the text of errors",
                "span.set_status(trace.StatusCode.ERROR)",
                "span.set_status(trace.StatusCode.ERROR, str(error))",
            ),
            ("errors are no errors", "span.set_status(trace.StatusCode.ERROR)", "pass"),
            ("waits stay pending", "pending_requests.add(-1, attributes)", "pass"),
            ("timeouts are not counted", "timeouts.add(1, attributes)", "pass"),
            (
                "used and idle are swapped",
                '("used", used), ("idle", idle)',
                '("idle", used), ("used", idle)',
            ),
            (
                "use is not measured",
                "use_time.record(now - record",
                "print(now - record",
            ),
        ]
    ),
]


def survives(mutation: Mutation, template: Path, folder: Path, url: str) -> bool:
    """Return whether the suite of the service passes with the mutation."""
    answers = {"database_url": BACKENDS[mutation.backend], **mutation.answers}
    data = {"package_name": "service", **answers}
    run_copy(str(template), folder, data, defaults=True, quiet=True)
    path = folder / mutation.path
    text = path.read_text()
    assert mutation.old in text, mutation
    path.write_text(text.replace(mutation.old, mutation.new))
    environment = {"DATABASE_URL": url} if url else {}
    return fork_server.check_suite(folder, "service", environment).status == 0


def main() -> int:
    """Try each mutation, and print whether a test fails."""
    wanted = [each for each in MUTATIONS if " ".join(sys.argv[1:]) in each.name]
    survivors = 0
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        template = folder / "template"
        template.mkdir()
        copy_template(template)
        servers = SharedServers.start(exits)
        for number, mutation in enumerate(wanted, 1):
            place = folder / str(number)
            if mutation.backend == "sqlite":
                survived = survives(mutation, template, place, "")
            else:
                with temporary_database(servers.url(mutation.backend)) as url:
                    survived = survives(mutation, template, place, url)
            survivors += survived
            result = "SURVIVED" if survived else "a test failed"
            print(f"{number}/{len(wanted)} {mutation.name}: {result}", flush=True)
    print(f"{len(wanted) - survivors} of {len(wanted)} mutations fail a test")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
