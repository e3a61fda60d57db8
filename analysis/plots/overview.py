"""All answers at a glance: every deciding difference in accuracy with both of its intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import formatting
from analysis.formatting import NAMES, RecipeWords
from analysis.plots import style

CAPTION = (
    "The difference in test accuracy between the first and the second arm of each comparison. "
    "Diamond: the mean over seeds. Thick bar: 95 % interval over seeds, which decides. Thin bar: "
    "over seeds and test images. Inside the shaded margin a difference is negligible. The colour "
    "is the verdict. An arrow stands for a difference off the scale."
)
ENDS = ("ci_low", "ci_high", "ci_crossed_low", "ci_crossed_high")
Row = Mapping[Hashable, Any]


def overview_figure(
    deciding: Mapping[str, pd.DataFrame], recipes: RecipeWords = NAMES
) -> Figure | None:
    """Draw a line for each difference in accuracy, those of one recipe together; None if there is
    none.

    Args:
        deciding: title of a question -> its deciding rows of `contrast_table`.
        recipes: what each recipe is in words.
    """
    groups: dict[tuple[str, str], list[Row]] = {}  # title and recipe -> rows
    for title, table in deciding.items():
        for row in table[table["estimate"].notna()].to_dict("records"):
            if formatting.is_accuracy(row["metric"]):
                groups.setdefault((title, row["recipe"]), []).append(row)
    if not groups:
        return None
    used = dict.fromkeys(recipe for _, recipe in groups)
    several = len(used) > 1
    rows: list[str | Row] = []
    for (title, recipe), of_recipe in groups.items():
        rows += [f"{title} ({recipes[recipe]})" if several else title, *of_recipe]
    drawn = [row for row in rows if not isinstance(row, str)]
    heading = "Differences in test accuracy"
    heading += "" if several else f" ({recipes[next(iter(used))]})"
    with style.drawing(1.3 + 0.27 * len(rows), heading) as figure:
        ax = figure.subplots()
        margin = 100 * max(row["margin"] for row in drawn)
        marks = [(100 * row["estimate"], [100 * row[end] for end in ENDS]) for row in drawn]
        farthest = style.fit_scale(ax, margin, marks)
        for place, row in enumerate(rows):
            if isinstance(row, str):
                edge = ("figure fraction", "data")
                paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
                ax.annotate(
                    row, (0.01, place), xycoords=edge, va="center", weight="bold", bbox=paper
                )
            else:
                _draw_line(ax, place, row, farthest)
        names = ["" if isinstance(row, str) else row["contrast"] for row in rows]
        style.set_lines(ax, [textwrap.shorten(name, 52, placeholder=" …") for name in names])
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("difference in test accuracy (pp)")
        _add_legend(figure, drawn[0]["margin"])
    return figure


def _draw_line(ax: Axes, place: int, row: Row, farthest: float) -> None:
    mean, colour = 100 * row["estimate"], style.verdict_colour(row["verdict"])
    if abs(mean) <= farthest:
        crossed = [100 * row["ci_crossed_low"], 100 * row["ci_crossed_high"]]
        ax.plot(crossed, [place, place], color=colour, linewidth=1, zorder=3)
        of_seeds = [100 * row["ci_low"], 100 * row["ci_high"]]
        bar = {"linewidth": 4, "solid_capstyle": "butt", "alpha": 0.55, "zorder": 3}
        ax.plot(of_seeds, [place, place], color=colour, **bar)  # type: ignore[arg-type]
        ax.plot([mean], [place], "D", color=colour, markersize=5.5, zorder=4)
    else:
        style.draw_arrow(ax, place, mean, colour)
    across = ax.get_yaxis_transform()
    ax.text(1.02, place, row["verdict"], transform=across, va="center", color=colour)


def _add_legend(figure: Figure, margin: float) -> None:
    diamond: dict[str, Any] = {"marker": "D", "markersize": 5, "linewidth": 4, "alpha": 0.6}
    words = ("mean, 95 % interval over seeds", "over seeds and test images")
    handles = [
        Line2D([], [], color=style.INK, label=words[0], **diamond),
        Line2D([], [], color=style.INK, label=words[1], linewidth=1),
        Patch(color=style.BAND, label=f"negligible ({formatting.margin(margin, 'test/accuracy')})"),
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
