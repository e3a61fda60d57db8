"""Where a result comes from: a commit is told of the repository that tracks the files."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from study.tracking import provenance

ROOT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder under git, with a copy of the code in it that it ignores."""
    git(tmp_path, "init")
    (tmp_path / ".gitignore").write_text("*\n!.gitignore\n")
    git(tmp_path, "add", ".gitignore")
    git(tmp_path, "commit", "-m", "dotfiles")
    (tmp_path / "code").mkdir()
    for name in ("study", "analysis", "models"):
        shutil.copytree(ROOT / name, tmp_path / "code" / name)
    return tmp_path / "code"


def version(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "study", "--version"],
        cwd=folder, env={**os.environ, **more}, capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_a_repository_that_does_not_track_the_files_is_not_theirs(home: Path) -> None:
    assert version(home).stdout.strip().endswith("commit unknown")


def test_the_commit_of_a_repository_that_tracks_them_is_told(home: Path) -> None:
    git(home.parent, "add", "--force", "code")
    git(home.parent, "commit", "-m", "code")
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=home, text=True).strip()
    assert version(home).stdout.strip().endswith(f"commit {head[:12]}")
    changed = home / "study" / "trial.py"
    changed.write_text(changed.read_text() + "# changed")
    assert version(home).stdout.strip().endswith(f"commit {head[:12]}, with changes")


def test_gits_word_on_dubious_ownership_is_passed_on(home: Path) -> None:
    git(home.parent, "add", "--force", "code")
    git(home.parent, "commit", "-m", "code")
    done = version(home, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert done.stdout.strip().endswith("commit unknown")
    assert "dubious ownership" in done.stderr and len(done.stderr.splitlines()) == 1


def test_somebody_without_a_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert provenance.user() == "unknown"
