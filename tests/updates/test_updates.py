"""`copier update`: from every release, to every other answer, from wherever it came."""

import os
import re
import shutil
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
import yaml
from copier import run_copy, run_recopy

from support.answer_changes import Change, changes
from support.copier_internals import Answers, Questionnaire
from support.processes import commit, copier, git
from support.questions import asked, static_choices
from support.samples import Samples
from support.template import NOW, RELEASES, ROOT, TAGS, copy, files, update
from support.terminal import Terminal
from support.variants import values_of

LATER = "v1001.0.0"


@pytest.fixture
def service(releases: Path, tmp_path: Path) -> Path:
    """A service from the first release."""
    folder = tmp_path / "service"
    copy(releases, folder, TAGS[0], {})
    return folder


@pytest.fixture(scope="session")
def later(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The releases, and another one that changes the first line of every file."""
    folder = tmp_path_factory.mktemp("later") / "template"
    shutil.copytree(releases, folder)
    for path in (folder / "template").rglob("*"):
        if path.is_file() and path.read_text() and "answers_file" not in path.name:
            path.write_text(f"# Fixed.\n{path.read_text()}")
    commit(folder, "Later")
    git(folder, "tag", LATER)
    return folder


def test_an_update_is_a_fresh_copy(
    change: Change,
    releases: Path,
    questionnaire: Questionnaire,
    tmp_path: Path,
) -> None:
    service = tmp_path / "service"
    copy(releases, service, change.release, questionnaire.settle(change.before))

    after = questionnaire.settle({**change.before, **change.after})
    update(service, **{name: after[name] for name in change.after if name in after})

    copy(releases, tmp_path / "fresh", NOW, after)
    assert files(service) == files(tmp_path / "fresh")


def test_every_answer_is_changed(
    questionnaire: Questionnaire, samples: Samples
) -> None:
    """Those that span the variants, to each other one; drivers, within a database."""
    variants = samples["variant"]
    changed: set[str] = set()
    made = set()
    for change in changes(variants):
        changed |= change.after.keys()
        before = questionnaire.settle(change.before)
        after = questionnaire.settle({**change.before, **change.after})
        made |= {(name, before[name], after[name]) for name in before.keys() & after}
    wanted = {
        (name, *pair)
        for name, values in values_of(variants).items()
        if name != "driver"
        for pair in permutations(values, 2)
    }
    assert changed == questionnaire.asked.keys() - {"package_name"}
    assert wanted <= made
    for drivers in (("psycopg", "asyncpg"), ("asyncmy", "aiomysql")):
        assert {("driver", *pair) for pair in permutations(drivers)} <= made


# --- Releases ---


def test_every_release_has_its_commit_and_its_entry_in_the_changelog() -> None:
    entries = re.findall(
        r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    released = [entry for entry in entries if entry != "Unreleased"]
    recorded = list(RELEASES)[::-1]
    # Between the commit of a release and its record, the newest is not there yet.
    assert recorded in (released, released[1:])
    for version, sha in RELEASES.items():
        assert f'version = "{version}"' in git(ROOT, "show", f"{sha}:pyproject.toml")
        assert f"## {version}\n" in git(ROOT, "show", f"{sha}:CHANGELOG.md")
        git(ROOT, "merge-base", "--is-ancestor", sha, "HEAD")
    for tag in git(ROOT, "tag").split():
        sha = git(ROOT, "rev-parse", f"{tag}^{{commit}}").strip()
        assert RELEASES[tag.removeprefix("v")] == sha


def test_no_release_needs_trust(releases: Path) -> None:
    """One that did would ask for it in every later update."""
    for tag in [*TAGS, NOW]:
        config = yaml.safe_load(git(releases, "show", f"{tag}:copier.yml"))
        assert config.keys().isdisjoint({"_tasks", "_migrations", "_jinja_extensions"})


def test_no_question_and_no_choice_is_ever_taken_back(releases: Path) -> None:
    """Copier would reset the answer of every service that has it."""
    now = yaml.safe_load(git(releases, "show", f"{NOW}:copier.yml"))
    for tag in TAGS:
        then = yaml.safe_load(git(releases, "show", f"{tag}:copier.yml"))
        for name, question in then.items():
            if not name.startswith("_") and question.get("when") is not False:
                assert now[name]["type"] == question["type"]
                missing = [
                    choice
                    for choice in static_choices(question)
                    if choice not in static_choices(now[name])
                ]
                assert missing == []


# --- Who owns which file (docs/update.md) ---


def test_every_file_gets_what_is_new_and_keeps_what_was_edited(
    later: Path, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    copy(later, service, NOW, {"database_url": "postgresql://app@db/app"})
    rendered = [name for name, text in files(service).items() if text]
    rendered.remove(".copier-answers.yml")
    for name in rendered:
        with (service / name).open("a") as file:
            file.write("# Edited.\n")
    commit(service, "Edits")

    update(service, LATER)

    for name in rendered:
        text = (service / name).read_text()
        assert text.startswith("# Fixed.\n"), name
        assert text.endswith("# Edited.\n"), name
        assert "<<<<<<<" not in text, name


def test_files_of_ones_own_are_not_touched_and_deleted_ones_stay_away(
    later: Path, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    copy(later, service, NOW, {})
    own = {
        ".env": "DATABASE_URL=postgresql://app:s3cret@db/app\n",
        "uv.lock": "version = 1\n",
        "migrations/versions/0002_mine.py": "# Mine.\n",
        "src/service/db/mine.py": "# Mine.\n",
        "tests/test_mine.py": "# Mine.\n",
    }
    for name, text in own.items():
        (service / name).write_text(text)
    deleted = [
        "tests/test_users.py",
        "src/service/health.py",
        ".pre-commit-config.yaml",
    ]
    for name in deleted:
        (service / name).unlink()
    commit(service, "Own work")

    update(service, LATER)

    assert {name: (service / name).read_text() for name in own} == own
    assert not any((service / name).exists() for name in deleted)


@pytest.mark.parametrize("backend", ["sqlite:///a.db", "postgresql:///a", "mysql:///a"])
@pytest.mark.parametrize("example", [True, False])
def test_a_released_migration_never_changes(
    backend: str, example: bool, releases: Path, tmp_path: Path
) -> None:
    migration = "migrations/versions/0001_initial.py"

    def render(tag: str, **answers: object) -> bytes:
        data = {"database_url": backend, "example": example, **answers}
        run_copy(
            str(releases),
            tmp_path / tag,
            data,
            vcs_ref=tag,
            exclude=["*", "!migrations"],
            defaults=True,
            quiet=True,
        )
        return (tmp_path / tag / migration).read_bytes()

    now = render(NOW, mode="sync")
    assert {tag: render(tag) for tag in TAGS} == dict.fromkeys(TAGS, now)


def test_a_conflict_is_marked_and_known_to_git(later: Path, tmp_path: Path) -> None:
    service = tmp_path / "service"
    copy(later, service, NOW, {})
    readme = service / "README.md"
    readme.write_text(readme.read_text().replace("# Service", "# Our service", 1))
    commit(service, "Edit")

    update(service, LATER)

    assert readme.read_text().startswith(
        "<<<<<<< before updating\n# Our service\n=======\n# Fixed.\n# Service\n"
    )
    assert git(service, "diff", "--name-only", "--diff-filter=U") == "README.md\n"


def test_what_was_edited_in_a_file_that_an_answer_removes_can_stay_as_a_reject(
    service: Path,
) -> None:
    models = service / "src/service/users/models.py"
    models.write_text(models.read_text().replace("String(100)", "String(99)"))
    commit(service, "Edit")

    update(service, conflict="rej", example=False)

    assert not models.exists()
    assert "String(99)" in models.with_name("models.py.rej").read_text()


@pytest.mark.parametrize("left_over", ["conflict", "reject", "nothing"])
def test_checks_before_a_commit_find_what_is_left_over(
    left_over: str, later: Path, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    copy(later, service, NOW, {})
    readme = service / "README.md"
    if left_over != "nothing":
        readme.write_text(readme.read_text().replace("# Service", "# Our service", 1))
        commit(service, "Edit")
    update(service, LATER, conflict="rej" if left_over == "reject" else "inline")
    git(service, "add", "--all")

    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files"],
        cwd=service,
        # What the service's own environment is needed for, test_samples.py tries.
        env=os.environ | {"SKIP": "ruff-check,ruff-format,mypy"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode == 0) is (left_over == "nothing"), done.stdout
    assert ("README.md:1:<<<<<<< before updating" in done.stdout) is (
        left_over == "conflict"
    )
    assert ("README.md.rej" in done.stdout) is (left_over == "reject")


# --- Where the template is, and where the service ---


@pytest.mark.parametrize(
    ("source", "tagged"),
    [
        ("../template", True),
        ("../template", False),
        ("{template}", True),
        ("git+file://{template}", True),
    ],
)
def test_a_service_can_be_updated_wherever_it_came_from(
    source: str, tagged: bool, releases: Path, tmp_path: Path
) -> None:
    template = tmp_path / "template"
    git(tmp_path, "clone", "--quiet", releases, template)
    git(template, "checkout", "--quiet", "-B", "main", TAGS[0])
    if not tagged:
        git(template, "tag", "--delete", *TAGS, NOW)
    (tmp_path / "here").mkdir()
    done = copier(
        "copy",
        "--defaults",
        *(["--vcs-ref", TAGS[0]] if tagged else []),
        source.format(template=template),
        "shop",
        cwd=tmp_path / "here",
    )
    assert done.returncode == 0, done.stderr
    shop = tmp_path / "here/shop"
    commit(shop)
    git(template, "fetch", "--quiet", "--no-tags", releases, NOW)
    git(template, "checkout", "--quiet", "-B", "main", "FETCH_HEAD")

    done = copier("update", "--defaults", "--data=mode=sync", cwd=shop)

    assert done.returncode == 0, done.stderr
    fresh = tmp_path / "shop"
    names = {"project_name": "shop", "package_name": "shop"}
    copy(releases, fresh, NOW, {**names, "mode": "sync"})
    assert without_source(shop) == without_source(fresh)


def without_source(folder: Path) -> dict[str, bytes]:
    """The files of a service, without where it came from."""
    found = files(folder)
    found[".copier-answers.yml"] = b"".join(
        line
        for line in found[".copier-answers.yml"].splitlines(keepends=True)
        if not line.startswith((b"_commit", b"_src_path"))
    )
    return found


def test_a_service_in_a_folder_of_a_larger_repository(
    releases: Path, tmp_path: Path
) -> None:
    service = tmp_path / "all/services/service"
    copy(releases, service, TAGS[0], {})
    shutil.rmtree(service / ".git")
    (tmp_path / "all/README.md").write_text("All our services.\n")
    readme = service / "README.md"
    readme.write_text(f"{readme.read_text()}Ours.\n")
    commit(tmp_path / "all")
    (tmp_path / "all/draft.txt").write_text("Not committed.\n")

    done = copier("update", "--defaults", "--data=example=false", cwd=service)

    assert done.returncode == 0, done.stderr
    copy(releases, tmp_path / "fresh", NOW, {"example": False})
    fresh = files(tmp_path / "fresh")
    fresh["README.md"] += b"Ours.\n"
    assert files(service) == fresh


def test_the_package_is_renamed_by_hand(releases: Path, tmp_path: Path) -> None:
    service = tmp_path / "service"
    copy(releases, service, TAGS[0], {"package_name": "bistro"})
    done = copier("update", "--defaults", "--data=package_name=tavern", cwd=service)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("Rename by hand, as the README says")
    assert git(service, "status", "--porcelain") == ""

    git(service, "mv", "src/bistro", "src/tavern")
    for name in git(service, "grep", "-lw", "bistro").split():
        path = service / name
        # Everywhere but in the database's URL.
        path.write_text(re.sub(r"(?<![.]/)\bbistro\b", "tavern", path.read_text()))
    commit(service, "Rename")
    update(service)

    answers = {"package_name": "tavern", "database_url": "sqlite:///./bistro.db"}
    copy(releases, tmp_path / "fresh", NOW, answers)
    assert files(service) == files(tmp_path / "fresh")


def test_enter_all_the_way_keeps_the_answers(releases: Path, tmp_path: Path) -> None:
    service = tmp_path / "service"
    answers = {"database_url": "postgresql://app@db/app", "driver": "asyncpg"}
    copy(releases, service, TAGS[0], answers)

    with Terminal("update", service) as terminal:
        for name in asked(**answers):
            terminal.answer(name)
        terminal.finish()

    copy(releases, tmp_path / "fresh", NOW, answers)
    assert files(service) == files(tmp_path / "fresh")


# --- What it says ---


def test_an_update_says_how_to_take_it_back(service: Path) -> None:
    before = files(service)
    readme = service / "README.md"
    readme.write_text(readme.read_text().replace("$ uv sync", "$ make", 1))
    commit(service)
    edited = files(service)

    done = copier("update", "--defaults", "--data=mode=sync", cwd=service)

    command = "git restore --staged --worktree . && git clean -fd ."
    assert f"    {command}\n" in done.stderr
    assert files(service) != edited
    subprocess.run(["bash", "-c", command], cwd=service, check=True)
    assert files(service) == edited != before
    assert git(service, "status", "--porcelain") == ""


def test_an_update_says_what_is_new(service: Path) -> None:
    done = copier("update", "--defaults", cwd=service)
    assert f"New since {TAGS[0]}:\n\n" in done.stderr
    news = done.stderr.partition("New since")[2].partition("Next:")[0]
    assert "- `copier update` is tested" in news
    assert "The first release" not in news
    commit(service)

    done = copier("update", "--defaults", "--data=mode=sync", cwd=service)
    assert "New since" not in done.stderr


def test_an_update_names_the_files_it_removed(service: Path) -> None:
    done = copier("update", "--defaults", "--data=alembic=false", cwd=service)
    removed = done.stderr.partition("Removed, as")[2].partition("    git log")[0]
    assert removed.split("\n\n")[1].split() == [
        "migrations/env.py",
        "migrations/script.py.mako",
        "migrations/versions/0001_initial.py",
        "tests/test_migrations.py",
    ]
    subprocess.run(
        ["bash", "-c", "git checkout HEAD -- migrations/env.py"],
        cwd=service,
        check=True,
    )
    assert (service / "migrations/env.py").exists()


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        ({}, {"ci": "none"}, ["uv run alembic upgrade head"]),
        (
            {"alembic": False},
            {"alembic": True},
            [
                "uv run alembic stamp head  # where the tables exist already",
                "uv run alembic upgrade head",
            ],
        ),
        (
            {"alembic": False},
            {"database_url": "postgresql://app@db/shop"},
            ["createdb --host db --username app shop", "grep DATABASE .env"],
        ),
        ({"alembic": False}, {"mode": "sync"}, ["grep DATABASE .env .env.example"]),
        ({"alembic": False}, {"transaction": "explicit"}, []),
    ],
)
def test_an_update_says_what_to_run(
    before: Answers,
    after: Answers,
    steps: list[str],
    releases: Path,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    copy(releases, tmp_path / "service", NOW, before)
    update(tmp_path / "service", quiet=False, **after)
    message = capfd.readouterr().err.partition("Next:\n\n")[2]
    printed = [line.strip() for line in message.splitlines() if line.strip()]
    expected = [
        "git status",
        *[step for step in steps if "alembic" not in step],
        "uv sync",
        *[step for step in steps if "alembic" in step],
        "uv run pytest",
        "uvx pre-commit run --all-files",
        "git add --all . && git commit",
    ]
    assert len(printed) == len(expected)
    assert all(map(str.startswith, printed, expected))


# --- What goes wrong ---


@pytest.mark.parametrize(
    ("break_", "message"),
    [
        ("dirty", "Destination repository is dirty"),
        ("no answers", "Template not found"),
        ("bad number", "Validation error for question 'pool_size': Use a whole number"),
        (
            "bad choice",
            "Invalid choice for 'mode': 'asink' is not in ['async', 'sync']",
        ),
        ("conflict in the answers", "could not find expected ':'"),
        ("downgrade", "You are downgrading from 1000.0.0 to 0.1.0"),
        ("no git", "Updating is only supported in git-tracked subprojects"),
        ("no template", "Local template must be a directory"),
    ],
)
def test_what_cannot_be_updated_is_left_as_it_is(
    break_: str, message: str, releases: Path, tmp_path: Path
) -> None:
    service = tmp_path / "service"
    copy(releases, service, NOW if break_ == "downgrade" else TAGS[0], {})
    answers = service / ".copier-answers.yml"
    changes = {
        "bad number": ("pool_size: '10'", "pool_size: ten"),
        "bad choice": ("mode: async", "mode: asink"),
        "conflict in the answers": ("mode: async", "<<<<<<< before\nmode: async"),
        "no template": (str(releases), str(tmp_path / "moved")),
    }
    if break_ in changes:
        old, new = changes[break_]
        answers.write_text(answers.read_text().replace(old, new))
    elif break_ == "no answers":
        answers.unlink()
    commit(service)
    if break_ == "dirty":
        (service / "README.md").write_text("New.\n")
    elif break_ == "no git":
        shutil.rmtree(service / ".git")
    before = files(service)

    ref = ["--vcs-ref=v0.1.0"] if break_ == "downgrade" else []
    done = copier("update", "--defaults", *ref, cwd=service)

    assert done.returncode != 0
    assert message in done.stderr
    assert files(service) == before


# --- Copier's other commands ---


def test_whether_there_is_an_update(service: Path) -> None:
    done = copier("check-update", cwd=service)
    assert "latest version is 1000.0.0" in done.stdout
    update(service)
    done = copier("check-update", cwd=service)
    assert "up-to-date" in done.stdout


def test_answers_only(service: Path, releases: Path, tmp_path: Path) -> None:
    options = ["--defaults", "--vcs-ref=:current:", "--data=mode=sync"]
    done = copier("update", *options, cwd=service)
    assert done.returncode == 0, done.stderr
    copy(releases, tmp_path / "fresh", TAGS[0], {"mode": "sync"})
    assert files(service) == files(tmp_path / "fresh")


def test_a_recopy_starts_again(service: Path, releases: Path, tmp_path: Path) -> None:
    (service / "README.md").write_text("Ours.\n")
    commit(service)
    run_recopy(service, defaults=True, overwrite=True, quiet=True)
    copy(releases, tmp_path / "fresh", NOW, {})
    assert files(service) == files(tmp_path / "fresh")
