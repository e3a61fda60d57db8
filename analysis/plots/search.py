"""Pictures of the search: score against rate for every noise type, and best so far."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, SymmetricalLogLocator

from analysis import formatting
from analysis.formatting import recipes_in_words
from analysis.plots import style
from analysis.plots.style import FAINT, GREY, INK, PALETTE
from analysis.schema import higher_is_better
from analysis.store.reader import Study
from analysis.store.search_trials import search_trials

COLUMNS = 5
"""Panels side by side."""
MARKS = {
    "rate1": ("o", PALETTE[0], "rate 1"),
    "rate2": ("s", PALETTE[1], "rate 2"),
    "rate3": ("^", PALETTE[3], "rate 3"),
}
"""Column -> mark, colour and label."""
REFERENCES = {"none": INK, "dropout": PALETTE[0]}
NAMED = 3
"""So many types beside the references are named in the picture of the best so far."""
LABEL_GAP = 0.042
"""Least distance of two labels, as a share of the axis."""


def rate_figures(study: Study) -> dict[str, Figure]:
    """Return recipe -> score against rate for each noise type; empty if there was no search."""
    figures = {}
    for recipe in study.declaration.tuned_recipes:
        trials = _of_types(study, recipe)
        if len(trials):
            figures[recipe] = _draw_rates(study, recipe, trials)
    return figures


def _of_types(study: Study, recipe: str) -> pd.DataFrame:
    """Return the search trials of the noise types, without those of dropout alone."""
    declared = study.declaration
    trials = search_trials(study.table, recipe, declared.objective)
    return trials.loc[trials.index < declared.trials_per_type * len(declared.noise_types)]


def _draw_rates(study: Study, recipe: str, trials: pd.DataFrame) -> Figure:
    """Draw a panel for each type, all on one scale, with every finished trial."""
    objective = study.declaration.objective
    factor = formatting.scale(objective)
    types = [noise for noise in study.declaration.noise_types if noise in set(trials["noise"])]
    columns = min(COLUMNS, len(types))
    rows = -(-len(types) // columns)
    tuned = study.tuned_arms(recipe)
    failed = _failed_trials(study, recipe)
    none = trials.loc[trials["noise"] == "none", "score"]
    title = (
        f"{recipes_in_words(study.declaration)[recipe]}: every search trial, "
        f"{formatting.metric_name(objective)} against the rates "
        f"({formatting.plural(len(trials), 'trial')})"
    )
    with style.drawing(1.3 + 2.1 * rows, title, axes_grid_axis="both") as figure:
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for ax, noise in zip(axes.flat, types, strict=False):
            of_type = trials.loc[trials["noise"] == noise]
            if len(none):
                best = none.max() if higher_is_better(objective) else none.min()
                ax.axhline(best * factor, color=GREY, linestyle="--", linewidth=1)
            rates = len(study.declaration.rate_bounds(noise))
            _draw_type(ax, of_type, rates, tuned.get(noise, ""), factor)
            if rates:
                ax.set_xlim(-0.03, study.declaration.max_rate + 0.03)
            failures = f", {failed[noise]} failed" if failed.get(noise) else ""
            ax.set_title(f"{noise} ({len(of_type)}{failures})", loc="left", size=9.5)
        for ax in axes.flat[len(types) :]:
            ax.set_axis_off()
        for ax in axes[:, 0]:
            ax.set_ylabel(formatting.unit(objective))
        most = max([2, *(len(study.declaration.rate_bounds(noise)) for noise in types)])
        handles = _legend(most)
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=len(handles),
            frameon=False,
            fontsize=8.5,
        )
    return figure


def _draw_type(ax: Axes, trials: pd.DataFrame, rates: int, tuned: str, factor: float) -> None:
    scores = trials["score"] * factor
    if rates == 0:
        ax.plot(trials["weight_decay"], scores, "o", color=INK, markersize=4)
        decays = trials.loc[trials["weight_decay"] > 0, "weight_decay"]
        lowest = decays.min() if len(decays) else 1.0
        ax.set_xscale("symlog", linthresh=lowest)  # weight decay 0 is one of them
        ax.xaxis.set_major_formatter(FuncFormatter(_power))
        ax.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=lowest))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("weight decay", size=8.5)
    for column, (mark, colour, _) in list(MARKS.items())[:rates]:
        fill = colour if column == "rate1" else "none"
        ax.plot(
            trials[column],
            scores,
            mark,
            color=colour,
            markersize=5,
            markerfacecolor=fill,
            alpha=0.8,
        )
        ax.set_xlabel("rate", size=8.5)
    picked = trials.loc[trials["arm"] == tuned]
    column = "rate1" if rates else "weight_decay"
    ring = {"markersize": 12, "markerfacecolor": "none", "markeredgewidth": 1.4}
    ax.plot(picked[column], picked["score"] * factor, "o", color=PALETTE[2], **ring)  # type: ignore[arg-type]


def _power(value: float, place: int | None) -> str:
    return f"{value:.0e}" if value else "0"


def _legend(rates: int) -> list[Line2D]:
    handles = []
    for column, (mark, colour, label) in list(MARKS.items())[:rates]:
        fill = colour if column == "rate1" else "none"
        handles.append(
            Line2D(
                [], [], marker=mark, color=colour, linestyle="", markerfacecolor=fill, label=label
            )
        )
    handles.append(
        Line2D(
            [],
            [],
            marker="o",
            markersize=10,
            markerfacecolor="none",
            linestyle="",
            color=PALETTE[2],
            label="tuned arm",
        )
    )
    handles.append(Line2D([], [], color=GREY, linestyle="--", label="best trial without noise"))
    return handles


def _failed_trials(study: Study, recipe: str) -> dict[str, int]:
    """Return noise type -> number of its failed search trials."""
    counts: dict[str, int] = {}
    for trial in study.failed:
        if trial.params.get("recipe") == recipe and trial.number is not None:
            noise = trial.params["noise"]
            counts[noise] = counts.get(noise, 0) + 1
    return counts


def budget_figures(study: Study) -> dict[str, Figure]:
    """Return recipe -> best so far against the number of trials; empty if there was no search."""
    figures = {}
    for recipe in study.declaration.tuned_recipes:
        trials = _of_types(study, recipe)
        if len(trials):
            curves = best_so_far(trials, study.declaration.noise_types, study.declaration.objective)
            words = recipes_in_words(study.declaration)[recipe]
            figures[recipe] = _draw_budget(curves, words, study.declaration.objective)
    return figures


def best_so_far(
    trials: pd.DataFrame, noise_types: tuple[str, ...], objective: str
) -> dict[str, np.ndarray]:
    """Return noise type -> best score after its 1st, 2nd, ... trial, in the shown unit, (trials,).

    Args:
        trials: as `search_trials` returns them.
        noise_types: in the order declared; those without a trial are left out.
    """
    running = np.maximum if higher_is_better(objective) else np.minimum
    curves = {}
    for noise in noise_types:
        scores = trials.loc[trials["noise"] == noise, "score"].to_numpy(dtype=float)
        if len(scores):
            curves[noise] = running.accumulate(scores) * formatting.scale(objective)
    return curves


def _draw_budget(curves: Mapping[str, np.ndarray], recipe: str, objective: str) -> Figure:
    sign = 1 if higher_is_better(objective) else -1
    others = [noise for noise in curves if noise not in REFERENCES]
    others.sort(key=lambda noise: -sign * curves[noise][-1])
    colours = {noise: colour for noise, colour in REFERENCES.items() if noise in curves}
    colours |= dict(zip(others[:NAMED], PALETTE[1:4], strict=False))
    most = max(map(len, curves.values()))
    unnamed = formatting.plural(len(curves) - len(colours), "other type")
    title = f"{recipe}: best so far against the number of trials (grey: {unnamed})"
    with style.drawing(4.2, title, axes_grid_axis="both") as figure:
        ax = figure.subplots()
        for noise in [*(noise for noise in curves if noise not in colours), *colours]:
            named = noise in colours
            ax.plot(
                np.arange(1, len(curves[noise]) + 1),
                curves[noise],
                drawstyle="steps-post",
                marker="o",
                markersize=2.5,
                color=colours.get(noise, FAINT),
                linewidth=2.0 if named else 0.8,
            )
        _fit_axis(ax, curves, sign)
        _label_ends(ax, {noise: curves[noise][-1] for noise in colours}, colours, most)
        ax.set_xlim(1 - 0.01 * most, most + 0.3 * max(1, most - 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xticks([tick for tick in ax.get_xticks() if 1 <= tick <= most])
        ax.set_xlabel("finished search trials of the noise type")
        ax.set_ylabel(f"best mean {formatting.metric_name(objective)}\nfound so far (%)")
    return figure


def _fit_axis(ax: Axes, curves: Mapping[str, np.ndarray], sign: int) -> None:
    """Scale from the weakest tenth of all points to the best; name the types that end below it."""
    points = np.concatenate(list(curves.values()))
    best, weak = (float(np.quantile(sign * points, share)) * sign for share in (1, 0.1))
    room = 0.06 * abs(best - weak) or 0.05 * abs(best)
    floor = weak - sign * room
    ax.set_ylim(*sorted((floor, best + sign * room)))
    worse = [noise for noise, scores in curves.items() if sign * scores[-1] < sign * floor]
    if worse:
        text = f"off the scale to the end: {', '.join(worse)}"
        note = {"size": 8, "color": GREY, "style": "italic", "transform": ax.transAxes}
        ax.text(0.5, 0.02, text, ha="center", **note)  # type: ignore[arg-type]


def _label_ends(ax: Axes, ends: Mapping[str, float], colours: Mapping[str, str], at: int) -> None:
    """Write names beside the ends of their lines, moved apart where they would overlap."""
    low, high = ax.get_ylim()
    placed = -np.inf
    for noise, end in sorted(ends.items(), key=lambda item: item[1]):
        placed = max((end - low) / (high - low), placed + LABEL_GAP, 0.02)
        arrow = {"arrowstyle": "-", "color": colours[noise], "linewidth": 0.6, "shrinkB": 2}
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
            arrowprops=arrow,
        )
