"""The report: a study's answers as a page, its Markdown twin, the figures, and two files for machines.

It only reads the study it is given: the same study gives the same bytes on every machine, so nothing here asks for the
time, a path or a random number.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from analysis import questions as asked
from analysis import schema
from analysis.plots import forest, search, search_budget
from analysis.report import page
from analysis.report.escaping import figure_path, in_markdown
from analysis.schema import Contrast, Question, term
from analysis.stats import crossed_bootstrap
from analysis.stats.results import Answer, ContrastAnswer, Refused
from analysis.store.reader import Study

TEMPLATES = Path(__file__).parent / "templates"
NUMBERS = (
    "estimate",
    "ci_low",
    "ci_high",
    "p_value",
    "p_adjusted",
    "p_candidate",
    "effect_size",
    "n_seeds",
)
SEARCH_CAPTIONS = {
    "budget": "The best mean validation score that each noise type had found after so many of its trials; the two "
    "references and the best three at the end are named. The best of several is flattered: compare types at an equal "
    "number of trials, and leave the verdict to the confirmed arms on new seeds.",
    "history": "Every search trial in the order it was asked, and the best so far. The noise types took turns, so each "
    "had the same number of trials.",
    "slice": "The same trials by each parameter. The sampler tries more where it was good, so the density of the dots "
    "is no evidence of its own. Training without noise stands at rate 0.",
    "contour": "The score between the trials, as Optuna interpolates it over the two rates, whatever the noise type "
    "and the weight decay. Where no dot is near, it is a guess; a type with one rate or none stands at rate 0.",
    "importance": "How much of the variance of the search's scores each parameter explains (fANOVA, over the trials of "
    "all noise types; the bar's line is the standard deviation over the seeds of its random forest). Adaptive sampling "
    "skews it: read it as a hint of what mattered in the search, not as an effect.",
}


def write(study: Study, folder: Path) -> Path:
    """Write index.html, report.md, answers.json, run_table.csv and figures/*.svg into `folder`.

    Beside them stand declaration.json and arms.json: with the run table, all that the analysis needs without a store.

    Everything is computed before the first file is touched, and each file is replaced whole, so a report that fails
    leaves an earlier one as it was.

    Returns:
        The path of index.html.

    Raises:
        OSError: the folder cannot be written to.
        StoreError: a question that only another version of this code knows.
    """
    answers = [
        asked.answer(question, study.table, study.arms) for question in study.declaration.questions
    ]
    figures = {figure_path(answer.question): forest.to_svg(answer.figure()) for answer in answers}
    figures |= {
        figure_path(answer.question, picture.name): forest.to_svg(picture.draw())
        for answer in answers
        for picture in answer.pictures
    }
    captions = {}
    budgets = {
        f"budget-{recipe}": figure for recipe, figure in search_budget.figures(study).items()
    }
    for name, figure in (budgets | search.search_figures(study)).items():
        figures[figure_path("search", name)] = forest.to_svg(figure)
        captions[figure_path("search", name)] = SEARCH_CAPTIONS[name.partition("-")[0]]
    both = {
        answer.question: crossed_bootstrap.intervals(answer.contrasts, study.arms, study.images)
        for answer in answers
    }
    content = page.build(study, answers, captions, both)
    rows = machine_rows(study.declaration.questions, answers, study.arms, both)
    files = {
        **figures,
        "answers.json": (json.dumps(rows, indent=2, allow_nan=False) + "\n").encode(),
        "run_table.csv": run_table_csv(study.table).encode(),
        schema.DECLARATION_FILE: study.declaration.to_json().encode(),
        schema.ARMS_FILE: json.dumps(study.arms, indent=2, sort_keys=True).encode(),
        "report.md": _render("report.md.j2", in_markdown(content), figures).encode(),
        "index.html": _render("index.html.j2", content, figures).encode(),
    }
    for name, data in files.items():
        _replace(folder / name, data)
    for stale in set((folder / "figures").glob("*.svg")) - {folder / name for name in figures}:
        stale.unlink()  # of an earlier report with other questions
    return folder / "index.html"


def machine_rows(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    arms: dict[str, dict[str, str]],
    intervals: page.Crossed,
) -> list[dict[str, Any]]:
    """The rows of answers.json: one object per declared contrast, in the metric's own unit; null where undefined.

    Beside what a verdict row shows stand `coefficients` (arm name -> coefficient), `family`, `candidate` and
    `p_candidate`: with them every row, the adjusted p included, can be recomputed from the run table; `crossed_low` and
    `crossed_high` are the interval over seeds and test images, from the trials' images.npz. A refused
    contrast has no numbers and no runs, the verdict "not answered" ("not entered" for an arm that the declared rule did
    not pick), and the reason for its sentence.
    """
    rows = []
    for question, answer in zip(questions, answers, strict=True):
        both: list[ContrastAnswer | Refused] = [*answer.contrasts, *answer.refused]
        found = {page.key(one.contrast): one for one in both}
        for contrast in question.contrasts:
            low, high = intervals.get(question.name, {}).get(page.key(contrast), (None, None))
            row = _machine_row(answer, found[page.key(contrast)], arms)
            rows.append(row | {"crossed_low": low, "crossed_high": high})
    return rows


def _machine_row(
    answer: Answer, found: ContrastAnswer | Refused, arms: dict[str, dict[str, str]]
) -> dict[str, Any]:
    contrast = found.contrast
    row: dict[str, Any] = {
        "question": answer.question,
        "contrast": contrast.name,
        "metric": contrast.metric,
        "recipe": contrast.recipe,
        **dict.fromkeys(NUMBERS),
        "margin": contrast.margin,
        "alpha": answer.alpha,
        "verdict": page.UNANSWERED,
        "sentence": "",
        "run_ids": [],
        "declared_hash": answer.declared_hash,
        "coefficients": None,
        "family": contrast.family,
        "candidate": contrast.candidate,
    }
    if isinstance(found, Refused):
        return row | {
            "sentence": found.reason,
            "verdict": page.UNANSWERED if found.entered else page.NOT_ENTERED,
        }
    estimate = found.estimate
    row |= {
        "estimate": estimate.mean,
        "ci_low": estimate.ci_low,
        "ci_high": estimate.ci_high,
        "p_value": estimate.p_value,
        "p_adjusted": found.p_adjusted,
        "p_candidate": found.p_candidate,
        "effect_size": estimate.effect_size,
        "n_seeds": estimate.n,
        "verdict": found.verdict,
        "sentence": found.sentence,
        "run_ids": sorted(found.run_ids),
        "coefficients": _by_arm(contrast, arms[contrast.recipe]),
    }
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }


def _by_arm(contrast: Contrast, arms: dict[str, str]) -> dict[str, float]:
    """Arm name, with ":metric" where it is not the contrast's -> coefficient; terms of one arm and metric are added."""
    coefficients: dict[str, float] = {}
    for label, metric, coefficient in contrast.terms:
        key = arms[label] if metric == contrast.metric else term(arms[label], metric)
        coefficients[key] = coefficients.get(key, 0.0) + coefficient
    return coefficients


def run_table_csv(table: pd.DataFrame) -> str:
    """The run table as CSV: the schema's columns, then what was measured; floats with all their digits."""
    return table.to_csv(index=False, lineterminator="\n")


def _render(template: str, content: page.Page, figures: dict[str, bytes]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = lambda path: (
        "data:image/svg+xml;base64," + base64.b64encode(figures[path]).decode()
    )
    environment.filters["cell"] = lambda text: text.replace("|", "\\|").replace("\n", " ")
    return environment.get_template(template).render(page=content)


def _replace(path: Path, data: bytes) -> None:
    """Write beside the file, then put it in its place: a reader sees the old bytes or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
