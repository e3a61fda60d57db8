"""The report: a study's answers as a page, its Markdown twin, the figures, and files for machines.

It only reads the study it is given: the same study gives the same bytes on every machine, so
nothing here asks for the time, a path or a random number.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from analysis import questions, schema
from analysis.formatting import arms_in_words, recipes_in_words
from analysis.plots import overfitting, overview, search
from analysis.plots.style import to_svg
from analysis.report import page
from analysis.report.escaping import figure_path, in_markdown, map_texts
from analysis.report.folder import figure_names, refuse_foreign_files, replace_report
from analysis.stats.contrast_table import contrast_table, to_records
from analysis.stats.results import Answer
from analysis.store.reader import Study

TEMPLATES = Path(__file__).parent / "templates"
RATES_CAPTION = (
    "Every finished search trial: its mean validation score against its rates, a panel for each "
    "noise type, all on one scale. The ring marks the arm that the re-ranking picked; the dashed "
    "line is the best trial without noise, which stands at rate 0 of every panel. The sampler "
    "tries more where it was good, so the density of the dots is no evidence of its own."
)
BUDGET_CAPTION = (
    "The best mean validation score that each noise type had found after so many of its trials; "
    "the two references and the best three at the end are named. The best of several is "
    "flattered: compare types at an equal number of trials, and leave the verdict to the "
    "confirmed arms on new seeds."
)


def write(study: Study, folder: Path) -> Path:
    """Write index.html, report.md, answers.json, run_table.csv and figures/*.svg into `folder`.

    Beside them stand declaration.json and arms.json: with the run table, all that the analysis
    needs without a store. Everything is computed before the first file is touched, and each file is
    replaced whole, so a report that fails leaves an earlier one as it was. Files that no report
    wrote stay.

    Returns:
        The path of index.html.

    Raises:
        ForeignFiles: the folder holds files of somebody else under the report's names.
        OSError: the folder cannot be written to.
        StoreError: a question that only another version of this code knows.
    """
    refuse_foreign_files(folder, figure_names(study.declaration))
    recipes = recipes_in_words(study.declaration)
    answers = questions.answer_all(
        study.declaration.questions,
        study.table,
        study.arms,
        study.images,
        recipes,
        study.declaration.image_types,
        study.bins,
    )
    contrasts = {answer.question: contrast_table(answer, study.arms) for answer in answers}
    figures, captions = _draw(study, answers, contrasts)
    built = page.build(study, answers, contrasts, **captions)
    content = map_texts(built, lambda text: arms_in_words(text, recipes))
    rows: list[dict[str, Any]] = []
    for table in contrasts.values():
        rows += to_records(table)
    files = {
        **figures,
        "answers.json": (json.dumps(rows, indent=2, allow_nan=False) + "\n").encode(),
        "run_table.csv": study.table.to_csv(index=False, lineterminator="\n").encode(),
        schema.DECLARATION_FILE: study.declaration.to_json().encode(),
        schema.ARMS_FILE: json.dumps(study.arms, indent=2, sort_keys=True).encode(),
        "report.md": _render("report.md.j2", in_markdown(content), figures).encode(),
        "index.html": _render("index.html.j2", content, figures).encode(),
    }
    replace_report(folder, files)
    return folder / "index.html"


def _draw(
    study: Study, answers: Sequence[Answer], contrasts: Mapping[str, pd.DataFrame]
) -> tuple[dict[str, bytes], dict[str, dict[str, str]]]:
    """Return all figures, path below the report's folder -> SVG; and where on the page those stand
    that belong to no question, place -> path -> caption."""
    recipes = recipes_in_words(study.declaration)
    figures: dict[str, bytes] = {}
    captions: dict[str, dict[str, str]] = {"overview": {}, "search_figures": {}, "training": {}}

    def keep(figure: Figure, *name: str) -> str:
        path = figure_path(*name)
        figures[path] = to_svg(figure)
        return path

    deciding: dict[str, pd.DataFrame] = {}
    for answer in answers:
        deciding[answer.asked.title] = page.deciding_rows(answer, contrasts[answer.question])
        keep(answer.figure(), answer.question)
        for picture in answer.pictures:
            keep(picture.draw(), answer.question, picture.name)
    if glance := overview.overview_figure(deciding, recipes):
        captions["overview"][keep(glance, "overview")] = overview.CAPTION
    for recipe, figure in search.rate_figures(study).items():
        captions["search_figures"][keep(figure, "search", "rates", recipe)] = RATES_CAPTION
    for recipe, figure in search.budget_figures(study).items():
        captions["search_figures"][keep(figure, "search", "budget", recipe)] = BUDGET_CAPTION
    drawn = overfitting.overfitting_figures(study.curves, study.table, recipes)
    for recipe, (figure, caption) in drawn.items():
        captions["training"][keep(figure, "training", recipe)] = caption
    return figures, captions


def _render(template: str, content: page.Page, figures: Mapping[str, bytes]) -> str:
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
