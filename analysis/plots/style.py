"""The look of all figures: colours, sizes, marks and the bytes they are saved as.

Accuracies are drawn in % and their differences in percentage points, losses in nats. A dot is one
seed; a diamond with a bar is a mean with its 95 % interval; a shaded band is the equivalence
margin.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import formatting
from analysis.schema import Question
from analysis.stats.verdicts import tone

INK, GREY, FAINT, BAND = "#1f2933", "#7b8794", "#cbd2d9", "#d5e8df"
PALETTE = ("#0072b2", "#b8480a", "#00714f", "#8a5a9e", "#7b8794")
"""Okabe and Ito's colours, darkened; the common kinds of colour blindness keep them apart."""
SEED = PALETTE[0]
VERDICT_COLOURS = {"better": PALETTE[0], "worse": PALETTE[1], "equivalent": PALETTE[2]}

DEFAULTS: dict[Any, Any] = {
    name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")
}
"""matplotlib's own settings: a report is the same whatever the user's matplotlibrc says."""
SVG: dict[Any, Any] = {"svg.hashsalt": "dropout-study", "svg.fonttype": "path"}
NO_MATH: dict[Any, Any] = {"text.parse_math": False}
"""A name from the store with two dollar signs is a name, not a formula."""
STYLE: dict[Any, Any] = {
    **NO_MATH,
    **sns.axes_style("ticks", {"axes.edgecolor": GREY, "grid.color": "#e4e7eb", "axes.grid": True}),
    "axes.grid.axis": "x",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the figure is the same everywhere
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
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
WIDTH = 10.5  # inches
FAR_IN_MARGINS, FAR_IN_TYPICAL = 10, 4
"""Off the scale is a difference of more than so many margins and so many typical differences: an
arrow and its number stand for it."""
MANY_POINTS = 5_000  # of one panel, above which its points and thin lines become pixels


@contextmanager
def drawing(height: float, title: str, **rc: Any) -> Iterator[Figure]:
    """Make a figure of the common width under the common style.

    Args:
        height: inches.
        rc: settings beside the style's, "_" standing for ".".
    """
    settings = {name.replace("_", "."): value for name, value in rc.items()}
    with mpl.rc_context(DEFAULTS | STYLE | settings):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11.5)


def to_svg(figure: Figure) -> bytes:
    """Return the figure as SVG: no date, no random ids, text as outlines, so it needs no font.

    Where a panel has very many points, they are drawn as an image within it: as shapes they would
    fill megabytes.
    """
    for ax in figure.axes:
        marks = [*ax.collections, *ax.lines]
        if sum(map(_count_points, marks)) > MANY_POINTS:
            for mark in marks:
                mark.set_rasterized(_count_points(mark) > 2)  # not intervals and rules
    buffer = io.BytesIO()
    with mpl.rc_context(DEFAULTS | NO_MATH | SVG):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _count_points(mark: Artist) -> int:
    if isinstance(mark, Line2D):
        return int(np.size(np.asarray(mark.get_xdata())))
    return len(np.asarray(mark.get_offsets())) if isinstance(mark, PathCollection) else 0


def metric_label(metric: str, difference: bool = False) -> str:
    """Return an axis label: "test accuracy (%)", "difference in test loss (NLL) (nats)"."""
    unit = formatting.unit(metric, difference)
    name = formatting.metric_name(metric)
    return f"{'difference in ' if difference else ''}{name}" + (f" ({unit})" if unit else "")


def verdict_colour(verdict: str) -> str:
    """Return the colour of a verdict: a negligible one looks equivalent, an open one grey."""
    return VERDICT_COLOURS.get(tone(verdict), GREY)


def draw_margin(ax: Axes, margin: float, vertical: bool = True) -> None:
    """Shade the band within which a difference is negligible, and rule its zero."""
    shade, rule = (ax.axvspan, ax.axvline) if vertical else (ax.axhspan, ax.axhline)
    shade(-margin, margin, color=BAND, linewidth=0, zorder=0.5)
    rule(0, color=INK, linewidth=0.9, zorder=1)


@dataclass(frozen=True)
class Difference:
    """One line of a forest plot, in the shown unit.

    Attributes:
        interval: of the mean; not drawn where it is not finite.
        seeds: finite values, shape (seeds,).
        arrow: colour of what stands for it where it is off the scale; by default `colour`.
    """

    mean: float
    interval: tuple[float, float]
    seeds: np.ndarray
    colour: str = INK
    arrow: str = ""


def draw_differences(
    ax: Axes, margin: float, lines: Sequence[Difference | str], alpha: float = 0.5
) -> None:
    """Draw a forest plot on a scale that fits the margin and all but far differences.

    Args:
        margin: in the shown unit.
        lines: from the top; words stand where there is no difference.
    """
    known = [line for line in lines if isinstance(line, Difference)]
    farthest = fit_scale(ax, margin, [(one.mean, [*one.interval, *one.seeds]) for one in known])
    for place, line in enumerate(lines):
        if isinstance(line, str):
            write_note(ax, place, line)
        elif abs(line.mean) > farthest:
            draw_arrow(ax, place, line.mean, line.arrow or line.colour)
        else:
            draw_seeds(ax, place, line.seeds, line.interval, line.colour, alpha)


def fit_scale(ax: Axes, margin: float, marks: Iterable[tuple[float, Iterable[float]]]) -> float:
    """Fit the x axis to the margin and the differences, shade the one, leave out the far others.

    Args:
        margin: in the shown unit.
        marks: of each difference its mean, and what else is drawn of it.

    Returns:
        The largest size of a mean on the scale; those beyond it are for `draw_arrow`.
    """
    marks = [(mean, list(others)) for mean, others in marks]
    sizes = sorted(abs(mean) for mean, _ in marks)
    typical = sizes[(len(sizes) - 1) // 2] if sizes else 0.0
    farthest = max(FAR_IN_MARGINS * margin, FAR_IN_TYPICAL * typical)
    ends = [-1.2 * margin, 1.2 * margin]
    for mean, others in marks:
        if abs(mean) <= farthest:
            ends += [mean, *filter(math.isfinite, others)]
    low, high = max(min(ends), -2 * farthest), min(max(ends), 2 * farthest)
    means = [0.0, *(mean for mean, _ in marks)]
    left, right = (0.25 if far else 0.05 for far in (min(means) < -farthest, max(means) > farthest))
    ax.set_xlim(low - left * (high - low), high + right * (high - low))
    draw_margin(ax, margin)
    return farthest


def draw_seeds(
    ax: Axes,
    place: float,
    seeds: np.ndarray,
    interval: tuple[float, float],
    colour: str = INK,
    alpha: float = 0.5,
) -> None:
    """Draw one line of a forest plot: the seeds below their mean and interval.

    Args:
        place: on the y axis.
        seeds: finite values in the shown unit, shape (seeds,).
        interval: of the mean; not drawn where it is not finite.
    """
    below = np.full(len(seeds), place + 0.18)
    ax.plot(seeds, below, "o", color=SEED, alpha=alpha, markersize=4, markeredgewidth=0)
    above = place - 0.1
    if all(map(math.isfinite, interval)):
        bar = {"linewidth": 2, "solid_capstyle": "butt", "zorder": 3}
        ax.plot(interval, [above, above], color=colour, **bar)  # type: ignore[arg-type]
    ax.plot([seeds.mean()], [above], "D", color=colour, markersize=5, zorder=4)


def write_note(ax: Axes, place: float, text: str) -> None:
    """Write grey words on a line that has no marks."""
    looks: dict[str, Any] = {"size": 8.5, "color": GREY, "style": "italic"}
    ax.text(0.02, place, text, transform=ax.get_yaxis_transform(), va="center", **looks)


def draw_arrow(ax: Axes, place: float, value: float, colour: str) -> None:
    """Tell a value off the scale by an arrow and its number at the edge."""
    number = f"{value:+.2f}".replace("-", "−")
    x, side, text = (0.02, "left", f"◄ {number}") if value < 0 else (0.98, "right", f"{number} ►")
    looks: dict[str, Any] = {"size": 8, "color": colour}
    ax.text(x, place, text, transform=ax.get_yaxis_transform(), ha=side, va="center", **looks)


def set_lines(ax: Axes, labels: Sequence[str]) -> None:
    """Label the lines of a forest plot, the first on top."""
    ax.set_yticks(range(len(labels)), [formatting.arms_in_words(label) for label in labels])
    ax.set_ylim(max(len(labels), 1) - 0.5, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.06)
    ax.locator_params(axis="x", nbins=4)


def add_legend(figure: Figure, question: Question, colours: Iterable[tuple[str, str]]) -> None:
    """Explain the marks of a forest plot below it.

    Args:
        colours: label and colour of each kind of mean.
    """
    margins = dict.fromkeys(
        formatting.margin(contrast.margin, contrast.metric) for contrast in question.contrasts
    )
    seed = Line2D([], [], marker="o", color=SEED, alpha=0.5, linestyle="none", label="one seed")
    means = [
        Line2D([], [], marker="D", color=colour, markersize=5, linewidth=2, label=label)
        for label, colour in colours
    ]
    band = Patch(color=BAND, label=f"equivalence margin ({', '.join(margins)})")
    figure.legend(handles=[seed, *means, band], loc="outside lower left", ncols=4)
