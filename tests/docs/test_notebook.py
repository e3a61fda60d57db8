"""The notebook runs as it stands, from the published files, and shows what it shows in the
repository."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from analysis import answer, draw, estimates, load_runs
from analysis.store.uri import StoreError

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOK = DOCS / "notebook.ipynb"


def shown(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each code cell prints, and what it shows as text; a figure counts as one."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    printed = [
        "".join(one.text for one in cell.outputs if one.get("name") == "stdout") for cell in cells
    ]
    values = [[one.data for one in cell.outputs if "data" in one] for cell in cells]
    return [
        [text, *("a figure" if "image/png" in value else value["text/plain"] for value in of_cell)]
        for text, of_cell in zip(printed, values, strict=True)
    ]


def test_the_notebook_shows_what_it_shows_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    committed = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(fresh, timeout=600, resources={"metadata": {"path": str(DOCS)}}).execute()
    assert shown(fresh) == shown(committed)
    text = str(shown(committed))
    assert "a figure" in text and load_runs(DOCS / "results" / "quick").study_id in text
    assert NOTEBOOK.stat().st_size < 300_000


def test_the_estimates_of_a_reports_folder_are_the_published_ones() -> None:
    runs = load_runs(DOCS / "results" / "quick")
    page = (DOCS / "results" / "quick" / "report.md").read_text()
    published = {
        (row["question"], row["contrast"], row["recipe"], row["metric"]): row
        for row in json.loads((DOCS / "results" / "quick" / "answers.json").read_text())
    }
    for question in runs.declaration.questions:
        found = answer(question.name, runs)
        assert f"| **{question.title}** " in page
        for row in estimates(found).to_dict("records"):
            then = published[question.name, row["contrast"], row["recipe"], row["metric"]]
            assert row["estimate"] == pytest.approx(then["estimate"])
            assert row["seeds"] == then["n_seeds"]
        assert len(estimates(found)) == len(found.contrasts) and draw(found)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    runs = load_runs(DOCS / "results" / "quick")
    with pytest.raises(ValueError, match="no question 'weather'; it has swap"):
        answer("weather", runs)
    with pytest.raises(ValueError, match="no picture 'grid'; it has curves"):
        draw(answer("epochs", load_runs(DOCS / "results")), "grid")
    with pytest.raises(StoreError, match=r"no report: no declaration\.json"):
        load_runs(tmp_path)
    with pytest.raises(ValueError, match="holds one study"):
        load_runs(tmp_path, preset="full")


def test_the_package_is_cheap_to_import_and_needs_no_torch() -> None:
    script = (
        "import sys, analysis\n"
        "assert not {'pandas', 'matplotlib', 'mlflow'} & set(sys.modules)\n"
        "analysis.answer('swap', analysis.load_runs(sys.argv[1]))\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(DOCS / "results" / "quick")], cwd=DOCS.parent, check=True
    )
