"""What each part of the best noise brings: alone, and beside the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import formatting
from analysis.plots import style
from analysis.questions.base import Evidence
from analysis.questions.ingredients import labels_of, part_names, wholes
from analysis.schema import Question
from analysis.stats.paired import MIN_SEEDS, interval
from analysis.stats.results import Picture

METRIC = "val/accuracy"
SIDES = ("alone", "beside the rest")


def parts(evidence: Evidence) -> Iterator[Picture]:
    """Draw what each part brings, a row of panels for the best type of each class and recipe."""
    question = evidence.question
    drawn = []  # title, part as shown -> its two differences by seed
    for recipe in dict.fromkeys(contrast.recipe for contrast in question.contrasts):
        runs = evidence.runs(recipe)
        scores = {
            label: rows[METRIC].astype(float)
            for label, rows in runs.items()
            if not rows.index.has_duplicates
        }
        for kind, whole in wholes(evidence, recipe):
            if lines := _differences(kind, part_names(whole), scores):
                drawn.append((f"{whole['noise']}, {evidence.recipes[recipe]}", lines))
    if not drawn:
        return

    def draw() -> Figure:
        seeds = formatting.plural(len(question.seeds), "seed")
        heights = [0.6 + 0.4 * len(lines) for _, lines in drawn]
        title = f"What each part of the best noise brings ({seeds})"
        with style.drawing(1.0 + sum(heights) + 0.5 * len(drawn), title) as figure:
            axes = figure.subplots(
                len(drawn), 2, sharey="row", squeeze=False, height_ratios=heights
            )
            for (name, lines), panels in zip(drawn, axes, strict=True):
                for side, ax in enumerate(panels):
                    _draw_panel(ax, question, {part: pair[side] for part, pair in lines.items()})
                ends = [end for ax in panels for end in ax.get_xlim()]
                for ax in panels:  # one scale, so that left and right can be compared
                    ax.set_xlim(min(ends), max(ends))
                panels[0].set_title(f"{name}: {SIDES[0]}", loc="left", weight="bold")
                panels[1].set_title(SIDES[1], loc="left", weight="bold")
            style.add_legend(figure, question, [("mean and 95 % t interval", style.INK)])
        return figure

    yield Picture(
        "parts",
        "The paired gain in validation accuracy by a part of the best noise of each class, at its "
        "tuned rates and weight decay. Left: over no noise at the same weight decay. Right: of the "
        "whole over the same without that part (its randomness: over a constant factor in its "
        "place). What gains on the left and not on the right is "
        "what the rest brings, too. Inside the shaded margin a difference is negligible.",
        draw,
    )


def _differences(
    kind: str, names: Mapping[str, str], scores: Mapping[str, pd.Series]
) -> dict[str, tuple[pd.Series, pd.Series]]:
    """Return part as shown -> the scores that it brings alone and beside the rest, by seed; those
    that were trained."""
    labels, names = labels_of(kind), {**names, "whole": "all of it"}

    def gain(pairs: Mapping[str, tuple[str, str]], part: str) -> pd.Series:
        better, worse = pairs.get(part, ("", ""))
        if better in scores and worse in scores:
            return (scores[better] - scores[worse]).dropna()
        return pd.Series(dtype=float)

    lines = {
        name: (gain(labels.alone, part), gain(labels.beside, part)) for part, name in names.items()
    }
    return {name: pair for name, pair in lines.items() if len(pair[0]) or len(pair[1])}


def _draw_panel(ax: Axes, question: Question, gains: Mapping[str, pd.Series]) -> None:
    factor = formatting.scale(METRIC)
    lines: list[style.Difference | str] = []
    for gain in gains.values():
        if gain.empty:
            lines.append("")
            continue
        values = gain * factor
        ends = interval(values) if len(values) >= MIN_SEEDS else (math.nan, math.nan)
        lines.append(style.Difference(float(values.mean()), ends, values.to_numpy()))
    margin = max(one.margin for one in question.contrasts if one.metric == METRIC) * factor
    style.draw_differences(ax, margin, lines)
    style.set_lines(ax, list(gains))
    ax.set_xlabel(style.metric_label(METRIC, difference=True))
