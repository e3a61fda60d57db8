"""What each ingredient of the project's own candidate brings: alone, and beside the others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import formatting
from analysis.plots import style
from analysis.questions.base import Evidence, tuned_label
from analysis.questions.ingredients import BARE, CANDIDATE, NOTHING
from analysis.schema import Question
from analysis.stats.paired import MIN_SEEDS, interval
from analysis.stats.results import Picture

WHOLE = tuned_label(CANDIDATE)
METRIC = "val/accuracy"
PARTS = {
    "shifts": (("without amplification", NOTHING), (WHOLE, "without shifts")),
    "amplification": (("without shifts", NOTHING), (WHOLE, "without amplification")),
    "its randomness, against\na constant factor": (
        ("without shifts", BARE),
        (WHOLE, "with a constant factor"),
    ),
    "all of it": ((WHOLE, NOTHING), None),
}
"""Ingredient -> the two arms that differ in it alone, without the others and beside them."""
TITLES = ("alone", "beside the others")


def parts(evidence: Evidence) -> Iterator[Picture]:
    """Draw what each ingredient brings, a row of panels for each recipe."""
    question = evidence.question
    scores: dict[str, dict[str, pd.Series]] = {}  # recipe -> arm label -> scores by seed
    for recipe in dict.fromkeys(contrast.recipe for contrast in question.contrasts):
        for label, rows in evidence.runs(recipe).items():
            if not rows.index.has_duplicates:
                scores.setdefault(recipe, {})[label] = rows[METRIC].astype(float)
    scores = {recipe: labelled for recipe, labelled in scores.items() if WHOLE in labelled}
    if not scores:
        return

    def draw() -> Figure:
        seeds = formatting.plural(len(question.seeds), "seed")
        title = f"What each ingredient of {CANDIDATE} brings ({seeds})"
        with style.drawing(1.0 + 2.6 * len(scores), title) as figure:
            axes = figure.subplots(len(scores), 2, sharey="row", squeeze=False)
            for (recipe, labelled), panels in zip(scores.items(), axes, strict=True):
                for side, ax in enumerate(panels):
                    _draw_panel(ax, question, labelled, side)
                    ax.set_title(TITLES[side], loc="left", weight="bold")
                ends = [end for ax in panels for end in ax.get_xlim()]
                for ax in panels:  # one scale, so that left and right can be compared
                    ax.set_xlim(min(ends), max(ends))
                panels[0].set_title(f"{evidence.recipes[recipe]}: alone", loc="left", weight="bold")
            style.add_legend(figure, question, [("mean and 95 % t interval", style.INK)])
        return figure

    yield Picture(
        "parts",
        "The paired gain in validation accuracy by an ingredient, at the candidate's rates and "
        "weight decay. Left: over no noise (its randomness: over the constant factor alone). "
        "Right: of the whole over the same without it. What gains on the left and not on the right "
        "is what the others bring, too. Inside the shaded margin a difference is negligible.",
        draw,
    )


def _draw_panel(ax: Axes, question: Question, scores: Mapping[str, pd.Series], side: int) -> None:
    factor = formatting.scale(METRIC)
    lines: list[style.Difference | str] = []
    for pairs in PARTS.values():
        pair = pairs[side]
        gain = pd.Series(dtype=float)
        if pair and set(pair) <= set(scores):
            gain = (scores[pair[0]] - scores[pair[1]]).dropna() * factor
        if gain.empty:
            lines.append("no runs" if pair else "see left")
        else:
            ends = interval(gain) if len(gain) >= MIN_SEEDS else (math.nan, math.nan)
            lines.append(style.Difference(float(gain.mean()), ends, gain.to_numpy()))
    margin = max(one.margin for one in question.contrasts if one.metric == METRIC) * factor
    style.draw_differences(ax, margin, lines)
    style.set_lines(ax, list(PARTS))
    ax.set_xlabel(style.metric_label(METRIC, difference=True))
