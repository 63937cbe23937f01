"""Tests of a service's settings with generated environment variables."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.copier_internals import CopierFixture

# All values that an environment variable can have.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
near_urls = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["postgres", "postgresql", "postgresql+psycopg", "mysql", "a+b"]),
    st.sampled_from(["", "u@h", "u:s3cret@h:1", "u:s3cret@[::1]", "u:s3cret@h:x"]),
    st.sampled_from(["", "/", "/name", "/name?password=s3cret", "/n?host=/tmp&x=%zz"]),
)


@pytest.fixture
def module(
    copier: CopierFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """Import the settings module of a service on PostgreSQL."""
    monkeypatch.chdir(tmp_path)  # A folder without .env.
    answers = {"database_url": "postgresql://app@host/app", "package_name": "service"}
    project = copier.copy(tmp_path / "service", **answers)
    path = project.path / "src" / "service" / "settings.py"
    spec = importlib.util.spec_from_file_location("rendered_settings", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_any_url_is_accepted_or_refused_in_one_line(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0

    @settings(max_examples=500, deadline=None)
    @given(texts | near_urls)
    def check(url: str) -> None:
        nonlocal taken
        monkeypatch.setenv("DATABASE_URL", url)
        try:
            database_url = module.load_settings().database_url
        except SystemExit as stop:
            line = str(stop)
            assert line.startswith("DATABASE_URL: ")
            assert "\n" not in line
            assert "s3cret" not in line
        else:
            taken += 1
            assert database_url.drivername == "postgresql+psycopg"
            assert database_url.database

    check()
    assert taken


def test_any_password_reaches_the_driver_and_is_never_shown(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The representations are the same for every password.
    monkeypatch.setenv("DATABASE_PASSWORD", "another")
    shown, shown_url = repr(module.Settings()), str(module.Settings().database_url)

    @settings(max_examples=500, deadline=None)
    @given(texts.filter(bool))
    def check(password: str) -> None:
        monkeypatch.setenv("DATABASE_PASSWORD", password)
        loaded = module.load_settings()
        dialect = loaded.database_url.get_dialect()()
        _, options = dialect.create_connect_args(loaded.database_url)
        assert options["password"] == password
        assert repr(loaded) == shown
        assert str(loaded.database_url) == shown_url

    check()
