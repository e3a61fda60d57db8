"""The repository as a home: what its pages point to is there, and the habits they name are make
targets."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=str)
def test_every_link_leads_somewhere(path: Path) -> None:
    page = (ROOT / path).read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", page):
        if target.startswith(("http", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        aim = (ROOT / path).parent / file if file else ROOT / path
        assert aim.exists(), target
        if anchor and aim.suffix == ".md" and "<a id=" not in aim.read_text():
            assert anchor in anchors(aim.read_text()), target


def test_every_habit_that_the_pages_name_is_a_make_target() -> None:
    named = {
        word for path in PAGES for word in re.findall(r"`make ([a-z-]+)", (ROOT / path).read_text())
    }
    listed = subprocess.run(
        ["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = {line.split()[0] for line in listed.splitlines()}
    assert targets >= named | {"study", "test", "bench", "report", "ui", "lint", "docs"}


def test_the_same_tools_run_before_a_commit_and_in_ci() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (hook,) = repo["hooks"]
    assert repo["repo"] == "local" and hook["language"] == "system" and hook["entry"] == "make lint"
    assert re.search(r"^test: lint", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_citation_is_whole() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "license", "date-released"} <= set(cited)
    assert cited["license"] == "MIT" and (ROOT / "LICENSE").read_text().startswith("MIT License")
