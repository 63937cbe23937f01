"""Tests of `copier update`: to all other answers, and from all kinds of sources."""

import re
import shutil
from itertools import permutations
from pathlib import Path

import pytest
from copier import run_recopy

from support.answer_changes import Change, changes
from support.copier_internals import Questionnaire
from support.processes import commit, copier, git
from support.questions import asked
from support.samples import Samples
from support.template import NOW, TAGS, copy, files, update
from support.terminal import Terminal
from support.variants import values_of


def test_an_updated_service_equals_a_fresh_copy(
    change: Change,
    releases: Path,
    questionnaire: Questionnaire,
    tmp_path: Path,
) -> None:
    service = tmp_path / "service"
    before = questionnaire.settle(change.before)
    copy(releases, service, change.release, before)

    after = questionnaire.settle({**before, **change.after})
    update(service, **{name: after[name] for name in change.after if name in after})

    copy(releases, tmp_path / "fresh", NOW, after)
    assert files(service) == files(tmp_path / "fresh") | kept(service)


def kept(service: Path) -> dict[str, bytes]:
    """Return the file that services of version 0.3 keep, because routes import it."""
    responses = "src/service/db/responses.py"
    return {name: text for name, text in files(service).items() if name == responses}


def test_every_answer_is_changed(
    questionnaire: Questionnaire, samples: Samples
) -> None:
    """The updates above change each answer to each other one; drivers, per backend."""
    variants = samples["variant"]
    changed: set[str] = set()
    made = set()
    for change in changes(variants):
        changed |= change.after.keys()
        before = questionnaire.settle(change.before)
        after = questionnaire.settle({**before, **change.after})
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


@pytest.mark.parametrize(
    ("source", "tagged"),
    [
        ("../template", True),
        ("../template", False),
        ("{template}", True),
        ("git+file://{template}", True),
    ],
)
def test_services_from_all_kinds_of_sources_are_updated(
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
    """Return the files of a service, without the source in the answers file."""
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
    assert done.stderr.rstrip().endswith("Keep it; to rename, see README.md")
    assert git(service, "status", "--porcelain") == ""

    git(service, "mv", "src/bistro", "src/tavern")
    for name in git(service, "grep", "-lw", "bistro").split():
        path = service / name
        # everywhere except in the database URL
        path.write_text(re.sub(r"(?<![.]/)\bbistro\b", "tavern", path.read_text()))
    commit(service, "Rename")
    update(service)

    answers = {"package_name": "tavern", "database_url": "sqlite:///./bistro.db"}
    copy(releases, tmp_path / "fresh", NOW, answers)
    assert files(service) == files(tmp_path / "fresh")


def test_enter_keeps_all_answers(releases: Path, tmp_path: Path) -> None:
    service = tmp_path / "service"
    answers = {"database_url": "postgresql://app@db/app", "driver": "asyncpg"}
    copy(releases, service, TAGS[0], answers)

    with Terminal("update", service) as terminal:
        for name in asked(**answers):
            terminal.answer(name)
        terminal.finish()

    copy(releases, tmp_path / "fresh", NOW, answers)
    assert files(service) == files(tmp_path / "fresh")


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
def test_a_refused_update_changes_nothing(
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


def test_check_update_reports_a_new_version(service: Path) -> None:
    done = copier("check-update", cwd=service)
    assert "latest version is 1000.0.0" in done.stdout
    update(service)
    done = copier("check-update", cwd=service)
    assert "up-to-date" in done.stdout


def test_update_of_the_answers_only(
    service: Path, releases: Path, tmp_path: Path
) -> None:
    options = ["--defaults", "--vcs-ref=:current:", "--data=mode=sync"]
    done = copier("update", *options, cwd=service)
    assert done.returncode == 0, done.stderr
    copy(releases, tmp_path / "fresh", TAGS[0], {"mode": "sync"})
    assert files(service) == files(tmp_path / "fresh")


def test_a_recopy_discards_edits(service: Path, releases: Path, tmp_path: Path) -> None:
    (service / "README.md").write_text("Ours.\n")
    commit(service)
    before = files(service)
    run_recopy(service, defaults=True, overwrite=True, quiet=True)
    copy(releases, tmp_path / "fresh", NOW, {})
    # A recopy deletes nothing, so files that the template no longer has remain.
    assert files(service) == before | files(tmp_path / "fresh")


def test_a_url_with_several_hosts_is_kept(releases: Path, tmp_path: Path) -> None:
    """Copier would reset the answer if the validator refused it."""
    url = "postgresql://app@/app?host=a&host=b"
    copy(releases, tmp_path / "service", "v0.4.0", {"database_url": url})
    update(tmp_path / "service")
    answers = (tmp_path / "service/.copier-answers.yml").read_text()
    assert f"database_url: {url}\n" in answers
