"""The search against its budget: the best validation score each noise type had found after so many of its trials."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis import formatting
from analysis.plots.forest import GREY, INK, STYLE, WIDTH
from analysis.plots.grids import PALETTE
from analysis.schema import SEARCH, higher_is_better
from analysis.store.reader import Study

REFERENCES = {"none": INK, "dropout": PALETTE[0]}
BEST = 3  # so many types beside the references are named
GAP = 0.042  # least distance of two labels, as a share of the axis


def figures(study: Study) -> dict[str, Figure]:
    """Recipe -> best so far against the number of trials; empty when there was no search."""
    objective = study.declaration.objective
    searched = study.table.loc[study.table["phase"] == SEARCH]
    return {
        str(recipe): _draw(
            curves(rows, study.declaration.noise_types, objective), str(recipe), objective
        )
        for recipe, rows in searched.groupby("recipe")
    }


def curves(
    rows: pd.DataFrame, noise_types: tuple[str, ...], objective: str
) -> dict[str, np.ndarray]:
    """Noise type -> best mean objective after its 1st, 2nd, ... finished trial, in the shown unit, shape (trials,).

    Args:
        rows: seed runs of the search under one recipe.
        noise_types: in the order declared; those without a trial are left out.
        objective: the column that the search looks at.
    """
    running = np.maximum if higher_is_better(objective) else np.minimum
    found = {}
    for noise in noise_types:
        trials = (
            rows.loc[rows["noise"] == noise].groupby("trial_number")[objective].mean().sort_index()
        )
        if len(trials):
            found[noise] = running.accumulate(trials.to_numpy(dtype=float)) * formatting.scale(
                objective
            )
    return found


def _draw(found: dict[str, np.ndarray], recipe: str, objective: str) -> Figure:
    sign = 1 if higher_is_better(objective) else -1
    ranked = sorted(
        (noise for noise in found if noise not in REFERENCES),
        key=lambda noise: -sign * found[noise][-1],
    )
    named = {noise: colour for noise, colour in REFERENCES.items() if noise in found}
    named |= dict(zip(ranked[:BEST], PALETTE[1:4], strict=False))
    most = max(len(scores) for scores in found.values())
    with mpl.rc_context({**STYLE, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
        ax = figure.subplots()
        for noise in [*(noise for noise in found if noise not in named), *named]:
            colour, width = (named[noise], 2.0) if noise in named else ("#b8c1cc", 0.8)
            trials = np.arange(1, len(found[noise]) + 1)
            ax.plot(
                trials,
                found[noise],
                drawstyle="steps-post",
                marker="o",
                markersize=2.5,
                color=colour,
                linewidth=width,
            )
        _fit(ax, found, sign)
        _label(ax, {noise: found[noise][-1] for noise in named}, named, most)
        ax.set_xlim(1 - 0.01 * most, most + 0.22 * max(1, most - 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xticks([tick for tick in ax.get_xticks() if 1 <= tick <= most])
        ax.set_xlabel("finished search trials of the noise type")
        ax.set_ylabel(
            f"best mean {formatting.metric_name(objective)}\nfound so far ({formatting.unit(objective)})"
        )
        others = formatting.plural(len(found) - len(named), "other type")
        title = f"{recipe}: best so far against the number of trials (grey: {others})"
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return figure


def _fit(ax: Axes, found: dict[str, np.ndarray], sign: int) -> None:
    """The axis runs from the weakest tenth of all points to the best; a type that ends below it is told in words."""
    every = np.concatenate(list(found.values()))
    best, weak = (float(np.quantile(sign * every, share)) * sign for share in (1, 0.1))
    room = 0.06 * abs(best - weak) or 0.05 * abs(best)
    ax.set_ylim(*sorted((weak - sign * room, best + sign * room)))
    if worse := [
        noise for noise, scores in found.items() if sign * scores[-1] < sign * (weak - sign * room)
    ]:
        words = f"off the scale to the end: {', '.join(worse)}"
        ax.text(
            0.5,
            0.02,
            words,
            transform=ax.transAxes,
            ha="center",
            size=8,
            color=GREY,
            style="italic",
        )


def _label(ax: Axes, ends: dict[str, float], colours: dict[str, str], at: int) -> None:
    """Names beside the ends of their lines, moved apart where they would cover each other."""
    low, high = ax.get_ylim()
    placed = -np.inf
    for noise, end in sorted(ends.items(), key=lambda item: item[1]):
        placed = max((end - low) / (high - low), placed + GAP, 0.02)
        ax.annotate(
            f"{noise}  {end:.2f}",
            (at, end),
            xytext=(1.0, placed),
            textcoords="axes fraction",
            ha="right",
            va="center",
            size=9,
            weight="bold",
            color=colours[noise],
            arrowprops={"arrowstyle": "-", "color": colours[noise], "linewidth": 0.6, "shrinkB": 2},
        )
