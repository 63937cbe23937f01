"""Writes docs/reference/: the questions, what each answer changes, and the settings.

uv run python -m tools.reference
"""

import ast
import difflib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from copier import run_copy

from support.answer_changes import OTHERS
from support.copier_internals import ALL, Answers, Questionnaire
from support.questions import converse
from support.template import NAMES, ROOT, copy_template, files, questions_only
from support.variants import BACKENDS

FOLDER = ROOT / "docs" / "reference"
ABOUT = {"DATABASE_URL": "The database URL; the driver may be omitted."}
"""The meaning of settings that have no docstring in a service."""
DERIVED = {
    "project_name": "from the name of the folder",
    "package_name": "from `project_name`",
}
"""The default answers that are derived."""
CONDITIONS = {
    "url.drivers[mode] | length > 1": (
        "the database has several drivers for this mode, and the URL names none"
    ),
    "pool == 'queue'": "`pool` is `queue`",
    "pool == 'queue' and url.backend != 'sqlite'": (
        "`pool` is `queue`, and the database is not SQLite"
    ),
    "url.backend != 'sqlite'": "the database is not SQLite",
    "url.backend == 'postgresql'": "the database is PostgreSQL",
}
"""The conditions under which questions are asked, as text."""
LONGEST = 70
"""The maximum number of lines of a diff that are shown."""
DATABASES: Mapping[str, Answers] = {
    "SQLite": {},
    "PostgreSQL": {"database_url": BACKENDS["postgresql"]},
    "MySQL, MariaDB": {"database_url": BACKENDS["mysql"]},
}


class Renderer:
    """Renders services from the working tree into ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template"
        self._template.mkdir()
        copy_template(self._template)
        self._folder = folder
        self._known: dict[str, dict[str, str]] = {}

    def render(self, answers: Answers) -> dict[str, str]:
        """Return the text of every file of a service, except for the answers file."""
        data = {**NAMES, **answers}
        key = repr(sorted(data.items()))
        if key not in self._known:
            folder = self._folder / str(len(self._known))
            run_copy(str(self._template), folder, data, defaults=True, quiet=True)
            found = {name: text.decode() for name, text in files(folder).items()}
            del found[".copier-answers.yml"]
            self._known[key] = found
        return self._known[key]


def questions(questionnaire: Questionnaire, renderer: Renderer) -> Iterator[str]:
    """Yield the lines of the page about the questions."""
    yield from (
        "# Questions",
        "",
        "`copier copy` asks these questions, in this order. To change an answer later,",
        "see [Update a service](../update.md#change-an-answer). For each answer other",
        "than the default, this page shows how the rendered service differs from one",
        "with the default answer.",
        "",
        "<!-- written by `uv run python -m tools.reference` -->",
    )
    conversations = [
        (given, converse(given))
        for given in (
            {**NAMES, **DATABASES[database]} for database in ("SQLite", "PostgreSQL")
        )
    ]
    for name, question in questionnaire.asked.items():
        yield from ("", f"## {name}", "", question["help"], "")
        given, conversation = next(
            each for each in conversations if name not in each[1].hidden
        )
        default = conversation.values[name]
        options = []
        is_choice = "choices" in question or question["type"] == "bool"
        if is_choice:
            expanded = questionnaire.expand(given, {name: ALL})
            options = [answers[name] for answers in expanded]
        yield from ("| | |", "|---|---|")
        if is_choice:
            yield f"| Answers | {', '.join(f'`{word(each)}`' for each in options)} |"
        shown = DERIVED.get(name, f"`{word(default)}`")
        yield f"| Default | {shown} |"
        if when := question.get("when"):
            yield f"| Asked if | {CONDITIONS[when.strip('{} ')]} |"
        if name == "database_url":
            others = {each[name]: title for title, each in DATABASES.items() if each}
        else:
            found = OTHERS.get(name, [each for each in options if each != default])
            others = dict.fromkeys(found, "")
        for other, title in others.items():
            yield from ("", *change(renderer, given, {name: other}, title))


def word(answer: object) -> str:
    """Return an answer in the form in which it is typed."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    return str(answer)


def change(
    renderer: Renderer, given: Answers, answer: Answers, title: str
) -> Iterator[str]:
    """Yield lines about what an answer changes, in addition to the given ones."""
    old, new = renderer.render(given), renderer.render({**given, **answer})
    diffs = {
        name: list(
            difflib.unified_diff(
                old.get(name, "").splitlines(), new.get(name, "").splitlines(), n=1
            )
        )[2:]
        for name in sorted(old.keys() | new.keys())
    }
    diffs = {name: diff for name, diff in diffs.items() if diff}
    [(name, value)] = answer.items()
    yield f"**`{name}={word(value)}`**" + (f", {title}" if title else "")
    counts = ", ".join(f"`{name}` {count(diff)}" for name, diff in diffs.items())
    yield from ("", f"{len(diffs)} files: {counts}." if diffs else "Nothing else.")
    shown: list[str] = []
    # Short diffs, those of the database layer first.
    for name, diff in sorted(diffs.items(), key=lambda item: "/db/" not in item[0]):
        if len(shown) + len(diff) < LONGEST and name in old and name in new:
            shown += [f"--- {name}", *(line.rstrip() for line in diff)]
    if shown:
        yield from ("", "```diff", *shown, "```")


def count(diff: list[str]) -> str:
    """Return the numbers of added and removed lines, as in "+2 −1"."""
    signs = [line[0] for line in diff]
    return f"+{signs.count('+')} −{signs.count('-')}"


def settings(renderer: Renderer) -> Iterator[str]:
    """Yield the lines of the page about a service's settings."""
    yield from (
        "# Settings",
        "",
        "A service reads its settings from environment variables and from `.env`. If a",
        "setting is in both, the environment variable takes precedence. The defaults",
        "are those of a service with the default answers. If a value is invalid, the",
        "service exits with one line that names the variables to correct. A service",
        "with a read replica has [more settings](../how-to/read-replica.md), and one",
        "with OpenTelemetry also reads",
        "[the standard variables](../how-to/observe.md#configure-the-export).",
        "",
        "<!-- written by `uv run python -m tools.reference` -->",
        "",
        "| Variable | Default | Values | Meaning | Databases |",
        "|---|---|---|---|---|",
    )
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for database, answers in DATABASES.items():
        source = renderer.render(answers)["src/service/settings.py"]
        for row in fields(source):
            rows.setdefault(row, []).append(database)
    for row, databases in sorted(rows.items(), key=lambda item: item[0][0]):
        everywhere = len(databases) == len(DATABASES)
        cells = [*row, "all" if everywhere else "; ".join(databases)]
        yield f"| {' | '.join(cells)} |"


def fields(source: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield the name, default, values and meaning of each field of ``Settings``."""
    tree = ast.parse(source)
    [model] = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    ]
    for node, after in zip(model.body, [*model.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or node.value is None:
            continue
        name = ast.unparse(node.target).upper()
        default, limits = ast.unparse(node.value), ast.unparse(node.annotation)
        about = ABOUT.get(name, "")
        if default == "DEFAULT_URL":
            default = "the answer, with its driver"
        if isinstance(node.value, ast.Call):
            keywords = node.value.keywords
            given = {str(each.arg): ast.unparse(each.value) for each in keywords}
            default = given.pop("default")
            signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
            bounds = [f"{signs[key]} {value}" for key, value in given.items()]
            limits = ", ".join([limits, *bounds])
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if is_text:
            about = str(after.value.value)  # type: ignore[union-attr]
        yield (
            name,
            f"`{default}`",
            f"`{limits}`".replace("|", "\\|"),
            " ".join(about.split()),
        )


def pages() -> Mapping[str, str]:
    """Return the text of each page."""
    with tempfile.TemporaryDirectory() as folder:
        renderer = Renderer(Path(folder))
        return {
            "questions.md": "\n".join(
                questions(Questionnaire(questions_only()), renderer)
            )
            + "\n",
            "settings.md": "\n".join(settings(renderer)) + "\n",
        }


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
