"""The pictures that single questions add to the common figure: curves over epochs or passes, and planes of rates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from scipy import stats

from analysis import formatting
from analysis.plots import grids
from analysis.plots.forest import BAND, GREY, INK, STYLE
from analysis.plots.grids import PALETTE, grid
from analysis.schema import Question
from analysis.stats.results import Picture

Arms = Mapping[str, Mapping[str, str]]


def of(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """The pictures of a question; one whose data the table lacks is left out."""
    maker = MAKERS.get(question.name)
    if maker:
        yield from maker(question, table, arms)


def runs_of(question: Question, table: pd.DataFrame, arms: Arms) -> dict[str, pd.DataFrame]:
    """Arm label -> the rows of its declared seeds, for the question's first recipe."""
    recipe = question.contrasts[0].recipe
    rows = table.loc[(table["phase"] == question.phase) & table["seed"].isin(question.seeds)]
    labels = dict.fromkeys(
        label for one in question.contrasts if one.recipe == recipe for label, _, _ in one.terms
    )
    of_arm = {
        label: rows.loc[rows["arm"] == arms.get(recipe, {}).get(label, "")] for label in labels
    }
    return {
        label: found.set_index("seed").sort_index() for label, found in of_arm.items() if len(found)
    }


def marks(rows: pd.DataFrame, pattern: str) -> dict[int, str]:
    """Number -> column, of the columns that fit a pattern with one group and hold values in these rows."""
    found = {
        int(match[1]): match[0] for name in rows.columns if (match := re.fullmatch(pattern, name))
    }
    return {number: found[number] for number in sorted(found) if rows[found[number]].notna().all()}


def line(
    ax: Axes, columns: dict[int, str], rows: pd.DataFrame, label: str, colour: str, **style: object
) -> None:
    """Mean over seeds with its 95 % t interval, against the number of epochs or passes."""
    scores = rows[list(columns.values())].to_numpy(dtype=float) * formatting.scale(
        next(iter(columns.values()))
    )
    band(ax, list(columns), scores, label, colour, **style)


def band(
    ax: Axes, x: Sequence[float], scores: np.ndarray, label: str, colour: str, **style: object
) -> None:
    """The same from scores (seeds, points)."""
    mean, n = scores.mean(axis=0), len(scores)
    ax.plot(x, mean, marker="o", markersize=4, color=colour, label=label, **style)  # type: ignore[arg-type]
    if n > 1:
        half = stats.t.ppf(0.975, n - 1) * scores.std(axis=0, ddof=1) / n**0.5
        ax.fill_between(x, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)


def epochs(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """Scores and gaps against the epochs."""
    runs = runs_of(question, table, arms)
    if "none" not in runs or not marks(runs["none"], r"test/accuracy_at_(\d+)"):
        return

    def draw() -> Figure:
        figure, axes = grid(2, 2, f"{question.title} ({_seeds(question)}, constant learning rate)")
        for (left, right), metric in zip(axes, ("test/accuracy", "test/loss"), strict=True):
            columns = marks(runs["none"], rf"{metric}_at_(\d+)")
            margin = next(
                (
                    c.margin
                    for c in question.contrasts
                    if c.metric == metric and c.family[:6] != "slopes"
                ),
                0.0,
            )
            factor = formatting.scale(metric)
            right.axhspan(-margin * factor, margin * factor, color=BAND, linewidth=0)
            right.axhline(0, color=INK, linewidth=0.9)
            for colour, (label, rows) in zip(PALETTE, runs.items(), strict=False):
                line(left, columns, rows, label, colour)
                if label == "none":
                    continue
                gap = (rows[list(columns.values())] - runs["none"][list(columns.values())]) * factor
                right.plot(list(columns), gap.to_numpy().T, color=colour, alpha=0.18, linewidth=0.8)
                band(right, list(columns), gap.to_numpy(dtype=float), f"{label} - none", colour)
            for ax, what in ((left, ""), (right, "difference in ")):
                unit = formatting.unit(metric, difference=bool(what))
                _finish(
                    ax, "epochs", f"{what}{formatting.metric_name(metric)} ({unit})", list(columns)
                )
            left.legend(frameon=False, fontsize=8.5)
        axes[0][1].legend(frameon=False, fontsize=8.5)
        return figure

    yield Picture(
        "curves",
        "Left: mean test scores and their 95 % intervals after so many epochs of one training. Right: the paired gap "
        "to no noise, one thin line per seed; the shaded strip is the equivalence margin.",
        draw,
    )


def variance(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """The variance of each hidden layer over training."""
    runs = runs_of(question, table, arms)
    if not runs or not marks(next(iter(runs.values())), r"variance/layer1_clean_at_(\d+)"):
        return
    parts = {
        "clean": "evaluation",
        "before": "training, before the mask",
        "after": "training, after the mask",
    }

    def draw() -> Figure:
        figure, axes = grid(1, 2, f"Variance of the activations over training ({_seeds(question)})")
        for layer, ax in enumerate(axes[0], start=1):
            for colour, (label, rows) in zip(PALETTE, runs.items(), strict=False):
                for style, (part, words) in zip(("-", "--", ":"), parts.items(), strict=True):
                    if label == "none" and part != "clean":
                        continue  # without a mask all three are the same
                    columns = marks(rows, rf"variance/layer{layer}_{part}_at_(\d+)")
                    line(ax, columns, rows, f"{label}: {words}", colour, linestyle=style)
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.set_title(f"hidden layer {layer}", loc="left", weight="bold")
            _finish(ax, "epochs", "variance per unit, mean over units", list(columns))
        figure.legend(
            *axes[0][0].get_legend_handles_labels(),
            loc="outside lower left",
            ncols=2,
            frameon=False,
            fontsize=9,
        )
        return figure

    yield Picture(
        "curves",
        "Variance over 2,000 validation images (and, in training mode, over 32 masks), per unit and averaged over the "
        "units; mean over seeds with 95 % intervals.",
        draw,
    )


def test_time(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """Scores against the number of noisy passes."""
    runs = runs_of(question, table, arms)
    rows = next(iter(runs.values()), pd.DataFrame())
    if not marks(rows, r"test/loss_mc(\d+)"):
        return

    def draw() -> Figure:
        figure, axes = grid(2, 2, f"Noise at test time: {next(iter(runs))} ({_seeds(question)})")
        for ax, name in zip(axes.flat, ("accuracy", "loss", "brier", "ece"), strict=True):
            metric = f"test/{name}"
            for colour, ending, words in (
                (PALETTE[0], "", "as it is"),
                (PALETTE[1], "_tempered", "tempered"),
            ):
                columns = marks(rows, rf"{metric}_mc(\d+){ending}")
                if name == "accuracy" and ending:
                    continue  # a temperature moves no accuracy
                line(ax, columns, rows, f"mean of noisy passes, {words}", colour)
                level = rows[f"{metric}{ending}"].mean() * formatting.scale(metric)
                ax.axhline(
                    level,
                    color=colour,
                    linestyle="--",
                    linewidth=1.2,
                    label=f"deterministic, {words}",
                )
            unit = formatting.unit(metric)
            _finish(
                ax,
                "noisy passes averaged",
                f"{formatting.metric_name(metric)}{f' ({unit})' if unit else ''}",
                list(columns),
            )
        axes[0][1].legend(frameon=False, fontsize=8.5)
        return figure

    yield Picture(
        "passes",
        "The same weights, evaluated by the mean probabilities of so many random masks, against the deterministic pass "
        "(dashed); tempered: with the temperature that fits the validation images. Mean over seeds, 95 % intervals.",
        draw,
    )


MAKERS: dict[str, Callable[[Question, pd.DataFrame, Arms], Iterator[Picture]]] = {
    "epochs": epochs,
    "variance": variance,
    "test-time": test_time,
    "swap": grids.swap,
    "additivity": grids.additivity,
    "dropconnect": grids.dropconnect,
}


def _finish(ax: Axes, x: str, y: str, ticks: Sequence[int]) -> None:
    ax.set_xscale("log")
    ax.set_xticks(list(ticks), [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(True, axis="y", color=STYLE["grid.color"])
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.tick_params(colors=GREY, labelcolor=INK)


def _seeds(question: Question) -> str:
    return f"n = {formatting.plural(len(question.seeds), 'seed')}"
