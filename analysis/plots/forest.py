"""The figures of the report: drawn on their own Figure objects, the same bytes for the same data.

Accuracies are drawn in % and their differences in percentage points, losses in nats. A dot is one seed; a diamond with
a bar is a mean with its 95 % t interval; a shaded band is the equivalence margin.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from scipy import stats

from analysis import formatting
from analysis.schema import Contrast, Question, higher_is_better
from analysis.stats.results import ContrastAnswer, Estimate

# Okabe and Ito's colours, which the common kinds of colour blindness keep apart.
INK, GREY, SEED, MEAN, BAND = "#1f2933", "#7b8794", "#0072b2", "#1f2933", "#d5e8df"
HEADLINE = ("/accuracy", "/loss")
VERDICT_COLOURS = {"better": "#0072b2", "worse": "#b8480a", "equivalent": "#00714f"}
NO_MATH: dict[Any, Any] = {"text.parse_math": False}
"""A name from the store with two dollar signs is a name, and what stands between them no formula, broken or not."""
STYLE: dict[Any, Any] = {
    **NO_MATH,
    **sns.axes_style("ticks", {"axes.edgecolor": GREY, "grid.color": "#e4e7eb", "axes.grid": True}),
    "axes.grid.axis": "x",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the figure looks the same on every machine
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
WIDTH = 10.5  # inches
MANY_POINTS = 5_000  # of one panel, above which its points and thin lines become pixels


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG: no date, no random ids, text as outlines, so that it needs no font where it is read.

    Where a panel has very many points, they are drawn as an image within it: as shapes they would fill megabytes.
    """
    for ax in figure.axes:
        marks = [*ax.collections, *ax.lines]
        if sum(map(_points, marks)) > MANY_POINTS:
            for mark in marks:
                mark.set_rasterized(_points(mark) > 2)  # not intervals and rules
    buffer = io.BytesIO()
    with mpl.rc_context(NO_MATH | {"svg.hashsalt": "dropout-study", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _points(mark: Artist) -> int:
    """How many points a collection or a line has."""
    if isinstance(mark, Line2D):
        return int(np.size(np.asarray(mark.get_xdata())))
    return len(np.asarray(mark.get_offsets())) if isinstance(mark, PathCollection) else 0


def question_figure(
    question: Question,
    table: pd.DataFrame,
    arms: dict[str, dict[str, str]],
    contrasts: Sequence[ContrastAnswer],
) -> Figure:
    """One row per recipe and metric: on the left every arm's seeds, on the right every declared contrast's.

    Accuracy and loss are drawn where the question has them; what else it has stands in its tables. A declared contrast
    that has no answer, and an arm that has no run, keep their line and say so; those of arms that were not picked have
    none.

    Args:
        question: as declared; its contrasts give the rows and their order.
        table: run table, `schema.RUN_TABLE`; the confirm phase's runs of the question's seeds are drawn.
        arms: recipe -> arm label -> arm name.
        contrasts: the answered ones among the declared.
    """
    answered = {_key(answer.contrast): answer for answer in contrasts}
    blocks: dict[tuple[str, str], list[Contrast]] = {}
    entered = [
        c
        for c in question.contrasts
        if all(label in arms.get(c.recipe, {}) for label, _, _ in c.terms)
    ]
    for contrast in entered or question.contrasts:
        blocks.setdefault((contrast.recipe, contrast.metric), []).append(contrast)
    headline = {
        block: contrasts for block, contrasts in blocks.items() if block[1].endswith(HEADLINE)
    }
    blocks = headline or blocks
    recipes = list(dict.fromkeys(recipe for recipe, _ in blocks))
    order = sorted(
        blocks, key=lambda block: (recipes.index(block[0]), not formatting.is_accuracy(block[1]))
    )
    labels = {
        block: list(dict.fromkeys(label for c in blocks[block] for label, _, _ in c.terms))
        for block in order
    }
    lines = [max(len(labels[block]), len(blocks[block])) for block in order]
    heights = [0.85 + count * (0.46 if count <= 8 else 0.38) for count in lines]  # inches

    with mpl.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06, hspace=0.03)
        figure = Figure(figsize=(WIDTH, sum(heights) + 1.0), layout=layout)
        arms_too = any(
            metric in table.columns for _, metric in order
        )  # else contrasts in units that no arm has
        widths = [1, 1.15] if arms_too else [0.02, 1]
        axes = figure.subplots(
            len(order), 2, squeeze=False, height_ratios=heights, width_ratios=widths
        )
        confirmed = table.loc[
            (table["phase"] == question.phase) & table["seed"].isin(question.seeds)
        ]
        for (recipe, metric), (left, right) in zip(order, axes, strict=True):
            if metric in table.columns:
                _draw_arms(left, confirmed, arms.get(recipe, {}), labels[recipe, metric], metric)
                left.set_title(f"{recipe}: each arm", loc="left", weight="bold")
            else:
                left.set_axis_off()
            _draw_contrasts(right, blocks[recipe, metric], answered, metric)
            right.set_title(f"{recipe}: paired differences", loc="left", weight="bold")
        figure.suptitle(f"{question.title}\n", x=0.01, ha="left", weight="bold", size=12.5)
        declared = f"{formatting.plural(len(question.seeds), 'seed')} declared"
        figure.text(
            0.01, 1 - 0.42 / figure.get_figheight(), declared, ha="left", va="center", color=GREY
        )
        figure.legend(
            handles=_legend(question), loc="outside lower left", ncols=3, frameon=False, fontsize=9
        )
    return figure


def _draw_arms(
    ax: Axes, table: pd.DataFrame, arms: dict[str, str], labels: list[str], metric: str
) -> None:
    ticks = []
    for place, label in enumerate(labels):
        rows = table.loc[table["arm"] == arms.get(label, "")].sort_values("seed")
        values = rows[metric].to_numpy(dtype=float) * formatting.scale(metric)
        values = values[np.isfinite(values)]
        ticks.append(f"{textwrap.fill(label, 26)}\n" + (_configuration(rows) if len(rows) else ""))
        if len(values):
            _draw_row(ax, place, values, float(values.mean()), *_mean_interval(values))
        else:
            ax.text(
                0.02,
                place,
                "no runs",
                transform=ax.get_yaxis_transform(),
                va="center",
                color=GREY,
                style="italic",
            )
    unit = formatting.unit(metric)
    _finish(ax, ticks, formatting.metric_name(metric) + (f" ({unit})" if unit else ""))


def _draw_contrasts(
    ax: Axes,
    contrasts: list[Contrast],
    answered: dict[tuple[str, str, str], ContrastAnswer],
    metric: str,
) -> None:
    factor = formatting.scale(metric)
    for place, contrast in enumerate(contrasts):
        answer = answered.get(_key(contrast))
        width = contrast.margin * factor
        ax.add_patch(
            Rectangle((-width, place - 0.5), 2 * width, 1, color=BAND, linewidth=0.7, zorder=0.5)
        )
        if answer and answer.estimate.n:
            estimate: Estimate = answer.estimate
            ends = estimate.ci_low * factor, estimate.ci_high * factor
            _draw_row(
                ax,
                place,
                estimate.differences.to_numpy(dtype=float) * factor,
                estimate.mean * factor,
                *ends,
            )
        verdict = answer.verdict if answer else "not answered"
        colour = VERDICT_COLOURS.get(verdict.split(",")[0], GREY)
        n = f"\nn = {answer.estimate.n}" if answer else ""
        ax.text(
            1.02,
            place,
            textwrap.fill(verdict, 20) + n,
            transform=ax.get_yaxis_transform(),
            va="center",
            color=colour,
        )
    ax.axvline(0, color=INK, linewidth=0.9, zorder=1)
    better = "negative is better" if higher_is_better(metric) is False else ""
    unit = formatting.unit(metric, difference=True).replace("pp", "percentage points")
    ticks = [textwrap.fill(contrast.name, 32) for contrast in contrasts]
    _finish(
        ax,
        ticks,
        f"difference in {formatting.metric_name(metric)} ({'; '.join(filter(None, [unit, better])) or 'ratio'})",
    )


def _draw_row(
    ax: Axes, place: int, values: np.ndarray, mean: float, low: float, high: float
) -> None:
    """The seeds of one line below its mean and interval, so that neither hides the other."""
    sns.stripplot(x=values, y=np.full(len(values), place + 0.17), ax=ax, orient="h", native_scale=True, jitter=False,
                  color=SEED, alpha=0.55, size=4.5, linewidth=0)  # fmt: skip
    if math.isfinite(low) and math.isfinite(high):
        ax.plot(
            [low, high],
            [place - 0.12] * 2,
            color=MEAN,
            linewidth=2,
            solid_capstyle="butt",
            zorder=3,
        )
    ax.plot(
        [mean], [place - 0.12], marker="D", color=MEAN, markersize=5, linestyle="none", zorder=4
    )


def _finish(ax: Axes, ticks: list[str], label: str) -> None:
    ax.set_yticks(range(len(ticks)), ticks)
    ax.set_ylim(len(ticks) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(label)
    ax.set_ylabel("")
    ax.margins(x=0.06)
    ax.locator_params(axis="x", nbins=4)


def _configuration(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    rates = f"p = {first['rate1']:.3g}, {first['rate2']:.3g}; " if first["noise"] != "none" else ""
    return f"{rates}wd = {first['weight_decay']:.2g}; n = {len(rows)}"


def _mean_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % t interval of a mean over seeds; NaN where there are fewer than two seeds."""
    if len(values) < 2:
        return math.nan, math.nan
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def _legend(question: Question) -> list[Line2D | Patch]:
    margins = dict.fromkeys(
        formatting.margin(contrast.margin, contrast.metric) for contrast in question.contrasts
    )
    return [
        Line2D(
            [],
            [],
            marker="o",
            color=SEED,
            alpha=0.55,
            markersize=5,
            linestyle="none",
            label="one seed",
        ),
        Line2D(
            [],
            [],
            marker="D",
            color=MEAN,
            markersize=5,
            linewidth=2,
            label="mean and 95 % t interval",
        ),
        Patch(color=BAND, label=f"equivalence margin ({', '.join(margins)})"),
    ]


def _key(contrast: Contrast) -> tuple[str, str, str]:
    return contrast.name, contrast.recipe, contrast.metric
