"""What the report's page says, in order, as text and tables; the templates lay it out.

The verdicts come from `analysis.questions`. A declared contrast without an answer keeps its row and says so; those of
types that the declared rule did not pick for a recipe are counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis import formatting
from analysis.report import checks as integrity
from analysis.report import next_study
from analysis.report import tables as ledger
from analysis.report.escaping import figure_path
from analysis.schema import Contrast, Question, higher_is_better
from analysis.stats.crossed_bootstrap import Interval
from analysis.stats.results import Answer, ContrastAnswer, Table
from analysis.store.reader import Study

UNANSWERED, NOT_ENTERED = "not answered", "not entered"
SHOWN_ON_TOP = 10  # contrasts of one question in the table of verdicts; its section has them all
SHOWN_RUNS = 2_000  # seed runs of one question that its section names; answers.json has them all
TONES = ("better", "worse", "equivalent")

MISSING = (math.nan, math.nan)

Key = tuple[str, str, str]
"""A contrast's name, recipe and metric."""
Crossed = dict[str, dict[Key, Interval]]
"""Question -> key of a contrast -> its interval over seeds and test images."""


@dataclass(frozen=True)
class Row:
    """A contrast in the table of verdicts."""

    contrast: str
    verdict: str
    tone: str  # better, worse, equivalent or open: how the verdict is coloured
    estimate: str
    interval: str
    seeds: str
    recipe: str


@dataclass(frozen=True)
class Section:
    """A question, answered."""

    name: str
    title: str
    verdict: str
    sentence: str
    takeaway: str
    caption: str
    rule: str
    figure: str  # path below the report's folder
    pictures: tuple[tuple[str, str], ...]  # path, caption
    top: tuple[Row, ...]
    hidden: int  # contrasts that the table of verdicts leaves to the section
    told: tuple[Table, ...]  # what the question itself puts in a table
    tables: tuple[Table, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    settle: str  # what would settle the inconclusive contrasts, and the command that runs it
    command: str
    declared_hash: str
    alpha: str
    runs: int
    run_ids: tuple[str, ...]  # the first SHOWN_RUNS of them


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    lead: str
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    integrity: Table
    tuned: Table
    search_figures: tuple[tuple[str, str], ...]  # path below the report's folder, caption
    confirmed: Table
    run: tuple[Table, ...]


def build(
    study: Study, answers: list[Answer], search_figures: dict[str, str], crossed: Crossed
) -> Page:
    """The page of a study.

    Args:
        study: as read from the store.
        answers: one for each declared question, in the order declared.
        search_figures: path below the report's folder -> caption.
        crossed: question -> key of a contrast -> its interval over seeds and test images.
    """
    sections = tuple(
        _section(study, question, answer, crossed.get(question.name, {}))
        for question, answer in zip(study.declaration.questions, answers, strict=True)
    )
    return Page(
        title="Noise in a small network: what the study found",
        lead=_lead(study),
        warnings=tuple(integrity.warnings(study, answers)),
        sections=sections,
        integrity=integrity.panel(study, answers),
        tuned=ledger.tuned(study),
        search_figures=tuple(search_figures.items()),
        confirmed=ledger.confirmed(study),
        run=(
            ledger.budget(study),
            ledger.unfinished(study),
            ledger.recipes(study),
            ledger.provenance(study),
            ledger.versions(study),
        ),
    )


def recipe_name(recipe: str) -> str:
    """The recipe as shown: a claim under `book` alone is about the end point, and its label says so."""
    return f"{recipe} (end-point stabilisation)" if recipe == "book" else recipe


def _lead(study: Study) -> str:
    declared = study.declaration
    networks = len(study.table)
    data = declared.data.get("name", "the data set")
    recipes = " and by ".join(
        f"{name} ({formatting.plural(settings['epochs'], 'epoch')})"
        for name, settings in declared.recipes.items()
    )
    return (
        f"{formatting.plural(networks, 'small network')} (784-256-256-10) were trained on {data}, by the recipe "
        f"{recipes}, to see what noise during training does to their accuracy. Every question below was declared with "
        "its contrasts, seeds, margins and the rule that picks its arms before the first network was trained. Arms "
        "were tuned on validation images; the verdicts come from fresh seeds and from test images that no choice had "
        "seen. They hold for this test set and for the tuned values. An accuracy difference counts in percentage "
        "points (pp), a loss in nats."
    )


def _section(
    study: Study, question: Question, answer: Answer, crossed: dict[Key, Interval]
) -> Section:
    answered = {key(found.contrast): found for found in answer.contrasts}
    blocks: dict[tuple[str, str], list[Contrast]] = {}
    for contrast in question.contrasts:
        blocks.setdefault((contrast.recipe, contrast.metric), []).append(contrast)
    deciding = [c for c in question.contrasts if formatting.is_accuracy(c.metric)] or list(
        question.contrasts
    )
    missing = {
        key(one.contrast): UNANSWERED if one.entered else NOT_ENTERED for one in answer.refused
    }
    settling = next_study.settling(study, question, answer)
    run_ids = sorted({run_id for found in answer.contrasts for run_id in found.run_ids})
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
            (figure_path(question.name, one.name), one.caption) for one in answer.pictures
        ),
        top=tuple(
            _row(question, contrast, answered.get(key(contrast)), missing)
            for contrast in (answer.leading or deciding)[:SHOWN_ON_TOP]
        ),
        hidden=max(0, len(deciding) - SHOWN_ON_TOP),
        told=answer.tables,
        tables=tuple(
            _contrast_table(question, block, contrasts, answered, missing, crossed)
            for block, contrasts in blocks.items()
        ),
        sentences=tuple(found.sentence for found in answer.contrasts),
        notes=answer.notes,
        settle="" if settling is None else _settle(settling),
        command="" if settling is None else settling.command,
        declared_hash=answer.declared_hash,
        alpha=f"{answer.alpha:g}",
        runs=len(run_ids),
        run_ids=tuple(run_ids[:SHOWN_RUNS]),
    )


def _row(
    question: Question, contrast: Contrast, found: ContrastAnswer | None, missing: dict[Key, str]
) -> Row:
    estimate = found.estimate if found else None
    verdict = found.verdict if found else missing[key(contrast)]
    return Row(
        contrast=contrast.name,
        verdict=verdict,
        tone=next((tone for tone in TONES if verdict.split(",")[0] == tone), "open"),
        estimate=formatting.difference(estimate.mean, contrast.metric)
        if estimate
        else formatting.MISSING,
        interval=formatting.interval(estimate.ci_low, estimate.ci_high, contrast.metric)
        if estimate
        else formatting.MISSING,
        seeds=_seeds(question, estimate.n) if estimate else formatting.MISSING,
        recipe=recipe_name(contrast.recipe),
    )


def _contrast_table(
    question: Question,
    block: tuple[str, str],
    contrasts: list[Contrast],
    answered: dict[Key, ContrastAnswer],
    missing: dict[Key, str],
    crossed: dict[Key, Interval],
) -> Table:
    recipe, metric = block
    of_images = any(key(contrast) in crossed for contrast in contrasts)
    rows, out = [], 0
    for contrast in contrasts:
        found = answered.get(key(contrast))
        if found is None and missing[key(contrast)] == NOT_ENTERED:
            out += 1  # a note names their types
            continue
        if found is None:
            rows.append(
                (contrast.name, missing[key(contrast)], *[formatting.MISSING] * (10 + of_images))
            )
            continue
        estimate = found.estimate
        rows.append(
            (
                contrast.name,
                found.verdict,
                formatting.difference(estimate.mean, metric, with_unit=False),
                formatting.interval(estimate.ci_low, estimate.ci_high, metric),
                *[formatting.interval(*crossed.get(key(contrast), MISSING), metric)] * of_images,
                formatting.p_value(estimate.p_value),
                formatting.p_value(found.p_adjusted),
                formatting.plain(estimate.effect_size),
                formatting.plain(estimate.p_superior),
                formatting.p_value(estimate.p_sign_flip),
                formatting.interval(estimate.bca_low, estimate.bca_high, metric),
                formatting.p_value(estimate.p_tost),
                _seeds(question, estimate.n),
            )
        )
    header = (
        *(
            "contrast",
            "verdict",
            "estimate",
            "95 % CI, unadjusted",
            *["95 % over seeds and images"] * of_images,
        ),
        *(
            "p",
            "p, Holm",
            "d_z",
            "P(A\u00a0>\u00a0B)",
            "p, sign flip",
            "95 % BCa",
            "p, TOST",
            "seeds",
        ),
    )
    margins = ", ".join(
        dict.fromkeys(formatting.margin(contrast.margin, metric) for contrast in contrasts)
    )
    unit = formatting.unit(metric, difference=True).replace("pp", "percentage points")
    unit = (
        ", ".join(
            filter(None, [unit, "negative is better" if higher_is_better(metric) is False else ""])
        )
        or "ratio"
    )
    caption = f"{recipe_name(recipe)}: difference in {formatting.metric_name(metric)}, {unit}; margin {margins}"
    caption += (
        f"; without the {formatting.plural(out, 'contrast')} of types that were not picked"
        if out
        else ""
    )
    return Table(caption, header, tuple(rows), frozenset(range(2, 12 + of_images)))


def _settle(settling: next_study.Fresh) -> str:
    return (
        f"What is inconclusive here, a fresh study of {formatting.plural(settling.seeds, 'seed')} would settle in 80 % "
        f"of cases if the truth is as large as the margin: about {formatting.duration(settling.seconds)} of training "
        "on one core, its own search included."
    )


def _seeds(question: Question, n: int) -> str:
    return str(n) if n == len(question.seeds) else f"{n} of {len(question.seeds)}"


def key(contrast: Contrast) -> Key:
    """What tells a contrast from the others of its question."""
    return contrast.name, contrast.recipe, contrast.metric
