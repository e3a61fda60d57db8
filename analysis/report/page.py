"""The content of the report's page, in order, as text and tables; the templates lay it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import formatting
from analysis.formatting import RecipeWords, recipes_in_words
from analysis.report import checks, tables
from analysis.report.escaping import figure_path
from analysis.report.next_study import NextStudy, next_study
from analysis.schema import Question, higher_is_better
from analysis.stats.contrast_table import NOT_ENTERED
from analysis.stats.results import Answer, Table
from analysis.stats.verdicts import borne_out, tone
from analysis.store.reader import Study

SHOWN_RUNS = 2_000
"""Seed runs of one question that its section names; answers.json has them all."""
NO_FIGURES: Mapping[str, str] = {}


@dataclass(frozen=True)
class Row:
    """A contrast in the table of verdicts.

    Attributes:
        tone: better, worse, equivalent or open: the colour of the verdict.
    """

    contrast: str
    verdict: str
    tone: str
    estimate: str
    interval: str
    crossed: str
    seeds: str
    recipe: str


@dataclass(frozen=True)
class Section:
    """A question, answered.

    Attributes:
        figure: path below the report's folder.
        pictures: path and caption of each.
        top: the contrasts that decide, in the table of verdicts.
        own_tables: what the question itself puts in a table.
        settle: what would settle the inconclusive contrasts, and the command that runs it.
        run_ids: the first SHOWN_RUNS of `runs`.
    """

    name: str
    title: str
    verdict: str
    sentence: str
    takeaway: str
    caption: str
    rule: str
    figure: str
    pictures: tuple[tuple[str, str], ...]
    top: tuple[Row, ...]
    own_tables: tuple[Table, ...]
    tables: tuple[Table, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    settle: str
    command: str
    declared_hash: str
    alpha: str
    runs: int
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """The whole report.

    Attributes:
        glossary: words of the page and what they mean.
        overview, training, search_figures: path and caption of each.
    """

    title: str
    lead: str
    warnings: tuple[str, ...]
    overview: tuple[tuple[str, str], ...]
    glossary: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    integrity: Table
    training: tuple[tuple[str, str], ...]
    tuned: Table
    robustness: Table
    search_figures: tuple[tuple[str, str], ...]
    confirmed: Table
    run: tuple[Table, ...]


def build(
    study: Study,
    answers: list[Answer],
    contrasts: Mapping[str, pd.DataFrame],
    search_figures: Mapping[str, str],
    overview: Mapping[str, str] = NO_FIGURES,
    training: Mapping[str, str] = NO_FIGURES,
) -> Page:
    """Return the page of a study.

    Args:
        answers: one for each declared question, in the order declared.
        contrasts: question -> its `contrast_table`.
        search_figures: path below the report's folder -> caption.
        overview: the same of the figure of all answers, if there is one.
        training: the same of the figures of training curves.
    """
    sections = [
        _section(study, question, answer, contrasts[question.name])
        for question, answer in zip(study.declaration.questions, answers, strict=True)
    ]
    return Page(
        title="Noise in a small network: what the study found",
        lead=_lead(study),
        warnings=tuple(checks.warnings(study, answers)),
        overview=tuple(overview.items()),
        glossary=_glossary(study),
        sections=tuple(sections),
        integrity=checks.panel(study, answers),
        training=tuple(training.items()),
        tuned=tables.tuned(study),
        robustness=tables.robustness(study),
        search_figures=tuple(search_figures.items()),
        confirmed=tables.confirmed(study),
        run=(
            tables.budget(study),
            tables.unfinished(study),
            tables.recipes(study),
            tables.provenance(study),
            tables.versions(study),
        ),
    )


def deciding_rows(answer: Answer, contrasts: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a question's `contrast_table` that decide it, the leading ones first."""
    if answer.leading:
        order = [contrast.identity for contrast in answer.leading]
        return contrasts.set_index(["key", "recipe", "metric"], drop=False).loc[order]
    on_accuracy = contrasts[[formatting.is_accuracy(metric) for metric in contrasts["metric"]]]
    return on_accuracy if len(on_accuracy) else contrasts


def recipe_shown(recipe: str, recipes: RecipeWords) -> str:
    """Return the recipe as shown: a claim under `book` alone is about the end point."""
    words = recipes[recipe]
    return f"{words} (end-point stabilisation)" if recipe == "book" else words


def _lead(study: Study) -> str:
    networks = formatting.plural(len(study.table), "small network")
    data = study.declaration.data.get("name", "the data set")
    return (
        f"{networks} (784-256-256-10, ReLU) were trained on {data}, to see what noise during "
        "training does to their accuracy. Each question was declared before the first network was "
        "trained; arms were tuned on validation images, and the verdicts come from fresh seeds and "
        "test images that no choice had seen."
    )


def _glossary(study: Study) -> tuple[tuple[str, str], ...]:
    words = recipes_in_words(study.declaration)
    # The names too, by which a reader finds the recipe among the runs.
    recipes = "; ".join(f"{words[name]} (named {name})" for name in words)
    return (
        ("arm", "one configuration: noise type, rates, weight decay, recipe"),
        ("tuned", "with the rates and weight decay that did best on validation images"),
        ("recipe", f"how a network is trained: {recipes}"),
        ("seed", "one trained network of an arm: its initial weights, batch order and noise"),
        ("pp", "percentage points of accuracy. Losses count in nats"),
        ("margin", "the difference, fixed beforehand, below which nothing matters in practice"),
    )


def _section(study: Study, question: Question, answer: Answer, contrasts: pd.DataFrame) -> Section:
    top = deciding_rows(answer, contrasts)
    blocks = contrasts.groupby(["recipe", "metric"], sort=False)
    answered = contrasts[contrasts["estimate"].notna()]
    run_ids = sorted({run_id for run_ids in answered["run_ids"] for run_id in run_ids})
    following = next_study(study, question, answer)
    images = int(study.declaration.data.get("test", 0))
    recipes = recipes_in_words(study.declaration)
    return Section(
        name=question.name,
        title=question.title,
        verdict=answer.verdict,
        sentence=answer.sentence,
        takeaway=answer.takeaway,
        caption=answer.caption,
        rule=question.rule,
        figure=figure_path(question.name),
        pictures=tuple(
            (figure_path(question.name, picture.name), picture.caption)
            for picture in answer.pictures
        ),
        top=tuple(_row(question, row, images, recipes) for row in top.to_dict("records")),
        own_tables=answer.tables,
        tables=tuple(_contrast_table(question, block, recipes) for _, block in blocks),
        sentences=tuple(answered["sentence"]),
        notes=answer.notes,
        settle=_settle(following) if following else "",
        command=following.command if following else "",
        declared_hash=question.hash,
        alpha=f"{question.alpha:g}",
        runs=len(run_ids),
        run_ids=tuple(run_ids[:SHOWN_RUNS]),
    )


def _row(question: Question, row: Mapping[Any, Any], images: int, recipes: RecipeWords) -> Row:
    verdict = row["verdict"]
    ends = row["ci_crossed_low"], row["ci_crossed_high"]
    if not borne_out(verdict, *ends, row["margin"]):
        verdict += f"; on these {formatting.count(images)} images"
    return Row(
        contrast=row["contrast"],
        verdict=verdict,
        tone=tone(row["verdict"]),
        estimate=formatting.difference(row["estimate"], row["metric"]),
        interval=_interval(row, "ci"),
        crossed=_interval(row, "ci_crossed"),
        seeds=_seeds(question, row["n_seeds"]),
        recipe=recipe_shown(row["recipe"], recipes),
    )


def _interval(row: Mapping[Any, Any], kind: str) -> str:
    return formatting.interval(row[f"{kind}_low"], row[f"{kind}_high"], row["metric"])


def _contrast_table(question: Question, block: pd.DataFrame, recipes: RecipeWords) -> Table:
    """Return all numbers of the contrasts on one metric under one recipe.

    The caption counts those that were not entered.
    """
    recipe, metric = block.iloc[0][["recipe", "metric"]]
    entered = block[block["verdict"] != NOT_ENTERED]
    columns: dict[str, Callable[[Mapping[Any, Any]], str]] = {
        "contrast": lambda row: row["contrast"],
        "verdict": lambda row: row["verdict"],
        "estimate": lambda row: formatting.difference(row["estimate"], metric, with_unit=False),
        "95 % CI, unadjusted": lambda row: _interval(row, "ci"),
        "95 % over seeds and images": lambda row: _interval(row, "ci_crossed"),
        "p": lambda row: formatting.p_value(row["p_value"]),
        "p, Holm": lambda row: formatting.p_value(row["p_adjusted"]),
        "d_z": lambda row: formatting.plain(row["effect_size"]),
        "P(better)": lambda row: formatting.plain(row["p_superior"]),
        "p, sign flip": lambda row: formatting.p_value(row["p_sign_flip"]),
        "95 % BCa": lambda row: _interval(row, "bca"),
        "p, TOST": lambda row: formatting.p_value(row["p_tost"]),
        "seeds": lambda row: _seeds(question, row["n_seeds"]),
    }
    if block["ci_crossed_low"].isna().all():
        del columns["95 % over seeds and images"]
    rows = [tuple(cell(row) for cell in columns.values()) for row in entered.to_dict("records")]
    units = [formatting.unit(metric, difference=True).replace("pp", "percentage points")]
    units += ["negative is better"] if higher_is_better(metric) is False else []
    margins = dict.fromkeys(formatting.margin(margin, metric) for margin in block["margin"])
    caption = (
        f"{recipe_shown(recipe, recipes)}: difference in {formatting.metric_name(metric)}, "
        f"{', '.join(filter(None, units)) or 'ratio'}; margin {', '.join(margins)}"
    )
    if out := len(block) - len(entered):
        contrasts = formatting.plural(out, "contrast")
        caption += f"; without the {contrasts} of arms that were not picked"
    return Table(caption, tuple(columns), tuple(rows), frozenset(range(2, len(columns))))


def _settle(following: NextStudy) -> str:
    return (
        f"What is inconclusive here, a fresh study of {formatting.plural(following.seeds, 'seed')} "
        "would settle in 80 % of cases if the truth is as large as the margin: about "
        f"{formatting.duration(following.seconds)} of training on one core, its own search "
        "included."
    )


def _seeds(question: Question, n: float) -> str:
    if pd.isna(n):
        return formatting.MISSING
    return f"{n:.0f}" if n == len(question.seeds) else f"{n:.0f} of {len(question.seeds)}"
