"""Reliability diagrams: is a prediction right as often as it is sure?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import formatting
from analysis.plots import style
from analysis.plots.style import GREY, INK, PALETTE
from analysis.stats.paired import MIN_SEEDS, interval
from analysis.stats.results import Picture

TEMPERED = "tempered"
ROWS = {"": "as it is", TEMPERED: "with a temperature fitted on validation images"}
"""Ending of a way to predict -> the panels it is drawn in."""


@dataclass(frozen=True)
class Line:
    """A way to predict, bin by bin; shares in %.

    Attributes:
        gap: accuracy minus confidence, (seeds, bins).
        confidence: mean over seeds, (bins,).
        images: share of the test images that are less confident than the bin's middle, (bins,).
    """

    label: str
    colour: str
    gap: np.ndarray
    confidence: np.ndarray
    images: np.ndarray


def diagram(runs: Mapping[str, pd.DataFrame], bins: pd.DataFrame) -> Iterator[Picture]:
    """Draw accuracy against confidence; nothing where the runs have no bins.

    Args:
        runs: label of the one arm -> its rows of the run table, by seed.
        bins: of `analysis.store.curves.read_bins`.
    """
    for label, rows in runs.items() if len(bins) else ():
        of_arm = bins.loc[bins["arm"].isin(rows["arm"]) & bins["seed"].isin(rows.index)]
        if of_arm.empty:
            continue
        panels = {ending: _lines(of_arm, ending) for ending in ROWS}
        seeds = formatting.plural(of_arm["seed"].nunique(), "seed")
        title = (
            f"Is {label} as often right as it is sure? Above the line it is too modest, below it "
            f"too sure (n = {seeds})"
        )
        yield Picture(
            "reliability",
            "Test images are sorted by confidence, the probability of the predicted class, into "
            "bins of equally many; a dot is one bin. Left: how many of a bin's predictions are "
            "right, against their mean confidence; on the line both are equal. Right: its distance "
            "to that line, with the bins side by side; of one network, the area between curve and "
            "line is the expected calibration error. Mean over seeds; the bands are 95 % intervals "
            "of the distance.",
            partial(_draw, title, panels),
        )


def _lines(bins: pd.DataFrame, ending: str) -> list[Line]:
    """Return the ways of one ending that were kept: deterministic, one noisy pass, the most."""
    passes = [int(match[1]) for way in bins["way"].unique() if (match := re.match(r"mc(\d+)", way))]
    most = max(passes, default=1)
    words = {"": "deterministic", "mc1": "one noisy pass"}
    words.setdefault(f"mc{most}", f"mean of {most} noisy passes")
    lines = []
    for colour, (way, label) in zip(PALETTE, words.items(), strict=False):
        of_way = bins.loc[bins["way"] == "_".join(filter(None, (way, ending)))]
        confidence, accuracy = (
            100 * of_way.pivot(index="seed", columns="bin", values=score)
            for score in ("confidence", "accuracy")
        )
        gap = (accuracy - confidence).dropna(axis=1)
        if not gap.empty:
            images = 100 * (gap.columns.to_numpy() - 0.5) / of_way["bin"].max()
            mean = confidence[gap.columns].mean().to_numpy()
            lines.append(Line(label, colour, gap.to_numpy(), mean, images))
    return lines


def _draw(title: str, panels: Mapping[str, list[Line]]) -> Figure:
    with style.drawing(6.8, title) as figure:
        axes = figure.subplots(len(ROWS), 2, sharex="col", sharey="col")
        for (left, right), (ending, lines) in zip(axes, panels.items(), strict=True):
            left.axline((50, 50), slope=1, color=INK, linewidth=0.9, zorder=1)
            right.axhline(0, color=INK, linewidth=0.9, zorder=1)
            for line in lines:
                _draw_line(left, line.confidence, line, line.confidence)
                _draw_line(right, line.images, line, np.zeros(len(line.images)))
            _say_sides(left, right)
            left.set_title(ROWS[ending], loc="left", weight="bold")
            right.set_title("the distance to the line", loc="left", color=GREY)
            left.set_ylabel("accuracy in the bin (%)")
            right.set_ylabel("accuracy minus confidence (pp)")
            for ax in (left, right):
                ax.grid(True, axis="y")
        axes[-1][0].set_xlabel("mean confidence in the bin (%)")
        axes[-1][1].set_xlabel("test images, the least confident first (%)")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return figure


def _say_sides(left: Axes, right: Axes) -> None:
    """Say on both sides of the line what it means to be there."""
    look: dict[str, Any] = {"size": 8.5, "color": GREY, "style": "italic"}
    above, below = "too modest", "too sure"
    left.text(0.02, 0.97, above, transform=left.transAxes, va="top", **look)
    left.text(0.98, 0.03, below, transform=left.transAxes, ha="right", **look)
    look |= {"textcoords": "offset points", "ha": "right"}
    end = (100, 0)  # where the curves meet the line
    right.annotate(above, end, (0, 5), va="bottom", **look)
    right.annotate(below, end, (0, -7), va="top", **look)


def _draw_line(ax: Axes, x: np.ndarray, line: Line, base: np.ndarray) -> None:
    """Draw the gap's mean and interval on top of `base`."""
    mean = base + line.gap.mean(axis=0)
    ax.plot(x, mean, "o-", markersize=3.5, linewidth=1.4, color=line.colour, label=line.label)
    if len(line.gap) >= MIN_SEEDS:
        ends = [interval(pd.Series(of_bin)) for of_bin in line.gap.T]
        low, high = np.array(ends).T
        ax.fill_between(x, base + low, base + high, color=line.colour, alpha=0.18, linewidth=0)
