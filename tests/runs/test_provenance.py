import re
import subprocess
from datetime import datetime, timedelta
from importlib.metadata import version

import pytest

from backlight.runs import provenance as module


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository in which the module seems to lie."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    source = tmp_path / "provenance.py"
    source.write_text("first\n", encoding="utf-8")
    monkeypatch.setattr(module, "__file__", str(source))
    return tmp_path


def git(folder, *words):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    quiet = ["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *quiet, *words],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


def commit(folder):
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def test_versions_of_what_numbers_depend_on_are_kept():
    facts = module.provenance()

    for package in ("backlight", "torch", "transformers", "numpy", "tokenizers"):
        assert facts[package] == version(package)
    assert re.fullmatch(r"3\.\d+\.\d+\S*", facts["python"])
    assert facts["platform"]


def test_the_start_is_told_with_its_time_zone():
    started = datetime.fromisoformat(module.provenance()["started"])

    assert started.utcoffset() == timedelta(0)
    assert abs(datetime.now(started.tzinfo) - started) < timedelta(minutes=1)


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(module, "_PACKAGES", ("backlight", "no-such-package"))

    assert "no-such-package" not in module.provenance()
    assert "backlight" in module.provenance()


def test_the_commit_is_named(checkout):
    oid = commit(checkout)

    assert module.provenance()["commit"] == oid


def test_a_changed_checkout_has_a_plus(checkout):
    oid = commit(checkout)
    (checkout / "provenance.py").write_text("second\n", encoding="utf-8")

    assert module.provenance()["commit"] == f"{oid}+"


def test_files_that_are_not_tracked_change_nothing(checkout):
    oid = commit(checkout)
    (checkout / "notes.txt").write_text("mine\n", encoding="utf-8")

    assert module.provenance()["commit"] == oid


def test_outside_a_checkout_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.parent))

    assert "commit" not in module.provenance()


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    commit(checkout)
    monkeypatch.setenv("PATH", "")

    assert "commit" not in module.provenance()


def test_all_facts_are_text():
    assert all(isinstance(fact, str) for fact in module.provenance().values())
