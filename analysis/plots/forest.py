"""The common figure of a question: every arm's seeds, and every declared contrast's."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import formatting
from analysis.formatting import NAMES, RecipeWords
from analysis.plots import style
from analysis.schema import Contrast, Question, higher_is_better
from analysis.stats.contrasts import rows_of
from analysis.stats.paired import MIN_SEEDS, interval
from analysis.stats.results import ContrastAnswer
from analysis.stats.verdicts import Arms

HEADLINE = ("/accuracy", "/loss")

Block = tuple[str, str]
"""Recipe and metric of a row of panels."""


def question_figure(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    answers: Sequence[ContrastAnswer],
    recipes: RecipeWords = NAMES,
) -> Figure:
    """Draw a row of two panels for each recipe and metric: the arms, and the paired differences.

    Accuracy and loss are drawn where the question has them. A declared contrast without an answer,
    and an arm without a run, keep their line and say so; those of arms that were not picked have
    none.

    Args:
        question: as declared; its contrasts give the rows and their order.
        table: run table.
        arms: recipe -> arm label -> arm name.
        answers: of the declared contrasts.
        recipes: what each recipe is in words.
    """
    blocks = _blocks(question, arms)
    labels = {
        block: list(dict.fromkeys(label for one in contrasts for label, _, _ in one.terms))
        for block, contrasts in blocks.items()
    }
    lines = [max(len(labels[block]), len(blocks[block])) for block in blocks]
    heights = [0.85 + count * (0.46 if count <= 8 else 0.38) for count in lines]
    has_arms = any(metric in table.columns for _, metric in blocks)  # else units no arm has
    rows = rows_of(question, table)
    answered = {answer.contrast.identity: answer for answer in answers}
    seeds = formatting.plural(len(question.seeds), "seed")
    with style.drawing(sum(heights) + 1.0, f"{question.title} ({seeds} declared)") as figure:
        axes = figure.subplots(
            len(blocks),
            2,
            squeeze=False,
            height_ratios=heights,
            width_ratios=[1, 1.15] if has_arms else [0.02, 1],
        )
        for (recipe, metric), (left, right) in zip(blocks, axes, strict=True):
            if metric in table.columns:
                _draw_arms(left, rows, arms.get(recipe, {}), labels[recipe, metric], metric)
                left.set_title(f"{recipes[recipe]}: each arm", loc="left", weight="bold")
            else:
                left.set_axis_off()
            _draw_contrasts(right, blocks[recipe, metric], answered, metric)
            title = "paired differences" if metric in table.columns else recipes[recipe]
            right.set_title(title, loc="left", weight="bold")
        style.add_legend(figure, question, [("mean and 95 % t interval", style.INK)])
    return figure


def _blocks(question: Question, arms: Arms) -> dict[Block, list[Contrast]]:
    """Return the contrasts to draw by recipe and metric: accuracy first, each recipe's together."""
    entered = [
        contrast
        for contrast in question.contrasts
        if {label for label, _, _ in contrast.terms} <= set(arms.get(contrast.recipe, {}))
    ]
    blocks: dict[Block, list[Contrast]] = {}
    for contrast in entered or question.contrasts:
        blocks.setdefault((contrast.recipe, contrast.metric), []).append(contrast)
    headline = [block for block in blocks if block[1].endswith(HEADLINE)]
    recipes = list(dict.fromkeys(recipe for recipe, _ in blocks))

    def order(block: Block) -> tuple[int, bool]:
        recipe, metric = block
        return recipes.index(recipe), not formatting.is_accuracy(metric)

    return {block: blocks[block] for block in sorted(headline or blocks, key=order)}


def _draw_arms(
    ax: Axes, table: pd.DataFrame, arms: Mapping[str, str], labels: Sequence[str], metric: str
) -> None:
    ticks = []
    for place, label in enumerate(labels):
        rows = table.loc[table["arm"] == arms.get(label, "")]
        scores = rows.set_index("seed")[metric].astype(float) * formatting.scale(metric)
        scores = scores[np.isfinite(scores)]
        ticks.append(f"{textwrap.fill(label, 26)}\n{configuration(rows, label)}")
        if scores.empty:
            style.write_note(ax, place, "no runs")
        else:
            ends = interval(scores) if len(scores) >= MIN_SEEDS else (math.nan, math.nan)
            style.draw_seeds(ax, place, scores.to_numpy(), ends)
    style.set_lines(ax, ticks)
    ax.set_xlabel(style.metric_label(metric))


def _draw_contrasts(
    ax: Axes,
    contrasts: Sequence[Contrast],
    answered: Mapping[tuple[str, str, str], ContrastAnswer],
    metric: str,
) -> None:
    factor = formatting.scale(metric)
    lines: list[style.Difference | str] = []
    style.set_lines(ax, [textwrap.fill(contrast.name, 32) for contrast in contrasts])
    for place, contrast in enumerate(contrasts):
        answer = answered.get(contrast.identity)
        verdict = answer.verdict if answer else "not answered"
        words = textwrap.fill(verdict, 20)
        colour, across = style.verdict_colour(verdict), ax.get_yaxis_transform()
        line: style.Difference | str = ""
        if answer:
            found = answer.estimate
            ends = found.ci_low * factor, found.ci_high * factor
            seeds = found.differences.to_numpy(dtype=float) * factor
            line = style.Difference(found.mean * factor, ends, seeds, arrow=colour)
            words += f"\nn = {found.n}"
        lines.append(line)
        ax.text(1.02, place, words, transform=across, va="center", color=colour)
    margin = max(contrast.margin for contrast in contrasts) * factor
    style.draw_differences(ax, margin, lines)
    lower = "; negative is better" if higher_is_better(metric) is False else ""
    ax.set_xlabel(style.metric_label(metric, difference=True) + lower)


def configuration(rows: pd.DataFrame, label: str) -> str:
    """Return an arm's rates, where its label does not tell them, its weight decay and its seeds."""
    if rows.empty:
        return ""
    first = rows.iloc[0]
    found = None if "(" in label else formatting.RATES.search(str(first["arm"]))
    rates = f"p = {found[2].replace(',', ', ')}; " if found else ""
    return f"{rates}weight decay {first['weight_decay']:.2g}; n = {len(rows)}"
