"""Pictures that single questions add to the common figure: curves over epochs or passes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from analysis import formatting
from analysis.formatting import NAMES, RecipeWords
from analysis.plots import grids, ingredients, reliability, style
from analysis.plots.style import PALETTE
from analysis.questions.epochs import ARMS, DECAYED, SIZES
from analysis.schema import Question
from analysis.stats.paired import MIN_SEEDS, interval
from analysis.stats.results import Picture

Arms = Mapping[str, Mapping[str, str]]


def question_pictures(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    recipes: RecipeWords = NAMES,
    bins: pd.DataFrame | None = None,
) -> Iterator[Picture]:
    """Yield the pictures of a question; one whose data the table lacks is left out.

    Args:
        recipes: what each recipe is in words.
        bins: of `analysis.store.curves.read_bins`.
    """
    if question.name in grids.PLANES:
        yield from grids.plane(question, table, recipes)
    elif question.name == "ingredients":
        yield from ingredients.parts(question, table, arms, recipes)
    elif question.name in MAKERS:
        yield from MAKERS[question.name](question, table, arms)
        if question.name == "test-time" and bins is not None:
            yield from reliability.diagram(runs_of(question, table, arms), bins)


def runs_of(question: Question, table: pd.DataFrame, arms: Arms) -> dict[str, pd.DataFrame]:
    """Return arm label -> rows of its declared seeds, by seed, for the question's first recipe."""
    recipe = question.contrasts[0].recipe
    rows = table.loc[(table["phase"] == question.phase) & table["seed"].isin(question.seeds)]
    labels: dict[str, None] = {}
    for contrast in question.contrasts:
        if contrast.recipe == recipe:
            labels |= dict.fromkeys(label for label, _, _ in contrast.terms)
    runs = {}
    for label in labels:
        of_arm = rows.loc[rows["arm"] == arms.get(recipe, {}).get(label, "")]
        if len(of_arm):
            runs[label] = of_arm.set_index("seed").sort_index()
    return runs


def numbered_columns(rows: pd.DataFrame, pattern: str) -> dict[int, str]:
    """Return number -> column, of columns that fit a pattern with one group and have all values."""
    columns = {}
    for name in rows.columns:
        match = re.fullmatch(pattern, name)
        if match and rows[name].notna().all():
            columns[int(match[1])] = name
    return {number: columns[number] for number in sorted(columns)}


def draw_mean(
    ax: Axes,
    columns: Mapping[int, str],
    rows: pd.DataFrame,
    label: str,
    colour: str,
    **line: object,
) -> None:
    """Draw the mean over seeds with its 95 % t interval, against the number of epochs or passes."""
    scores = rows[list(columns.values())].to_numpy(dtype=float)
    factor = formatting.scale(next(iter(columns.values())))
    draw_band(ax, list(columns), scores * factor, label, colour, **line)


def draw_band(
    ax: Axes, x: Sequence[float], scores: np.ndarray, label: str, colour: str, **line: object
) -> None:
    """Draw the mean and interval of scores, shape (seeds, points)."""
    mean = scores.mean(axis=0)
    ax.plot(x, mean, marker="o", markersize=4, color=colour, label=label, **line)  # type: ignore[arg-type]
    if len(scores) >= MIN_SEEDS:
        ends = [interval(pd.Series(point)) for point in scores.T]
        low, high = zip(*ends, strict=True)
        ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def horizons_and_sizes(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """Draw the axes along which dropout's gain is followed."""
    yield from horizons(question, table, arms)
    yield from ends_of_training(
        question,
        table,
        arms,
        Axis(
            "sizes",
            SIZES,
            "training images",
            "What dropout gains, over the size of the training set",
            "The paired gap to no noise after equally many steps on so many training images",
        ),
    )
    yield from ends_of_training(
        question,
        table,
        arms,
        Axis(
            "decayed",
            DECAYED,
            "epochs",
            "What dropout gains in trainings of other lengths, each down to learning rate 0",
            "The paired gap to no noise at the end of trainings of so many epochs, of which each "
            "has its own schedule down to learning rate 0",
        ),
    )


def horizons(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """Draw scores and gaps against the epochs."""
    runs = runs_of(question, table, arms)
    if "none" not in runs or not numbered_columns(runs["none"], r"test/accuracy_at_(\d+)"):
        return

    def draw() -> Figure:
        title = f"{question.title} ({_count_seeds(question)}, constant learning rate)"
        with style.drawing(6.8, title) as figure:
            axes = figure.subplots(2, 2)
            for (left, right), metric in zip(axes, ("test/accuracy", "test/loss"), strict=True):
                columns = numbered_columns(runs["none"], rf"{metric}_at_(\d+)")
                names = list(columns.values())
                factor = formatting.scale(metric)
                style.draw_margin(right, _margin(question, metric) * factor, vertical=False)
                for colour, (label, rows) in zip(PALETTE, runs.items(), strict=False):
                    draw_mean(left, columns, rows, label, colour)
                    if label != "none":
                        gap = (rows[names] - runs["none"][names]).to_numpy(dtype=float) * factor
                        right.plot(list(columns), gap.T, color=colour, alpha=0.18, linewidth=0.8)
                        draw_band(right, list(columns), gap, f"{label} - none", colour)
                _finish(left, "epochs", style.metric_label(metric), list(columns))
                gap_label = style.metric_label(metric, difference=True)
                _finish(right, "epochs", gap_label, list(columns))
                left.legend(frameon=False, fontsize=8.5)
            axes[0][1].legend(frameon=False, fontsize=8.5)
        return figure

    yield Picture(
        "curves",
        "Left: mean test scores and their 95 % intervals after so many epochs of one training. "
        "Right: the paired gap to no noise, one thin line per seed; the shaded strip is the "
        "equivalence margin.",
        draw,
    )


@dataclass(frozen=True)
class Axis:
    """What trainings differ in, whose ends are compared.

    Attributes:
        name: of the picture.
        places: recipe -> its place on the axis.
        label: of the axis.
        title, caption: of the picture; the caption's first words.
    """

    name: str
    places: Mapping[str, int]
    label: str
    title: str
    caption: str


def ends_of_training(
    question: Question, table: pd.DataFrame, arms: Arms, axis: Axis
) -> Iterator[Picture]:
    """Draw the gap to no noise at the end of trainings that differ in one thing."""
    rows = table.loc[(table["phase"] == question.phase) & table["seed"].isin(question.seeds)]
    scores: dict[str, dict[int, pd.DataFrame]] = {}  # label -> place -> rows by seed
    for recipe, place in axis.places.items():
        for label in ("none", *ARMS):
            of_arm = rows.loc[rows["arm"] == arms.get(recipe, {}).get(label, "")]
            if len(of_arm):
                scores.setdefault(label, {})[place] = of_arm.set_index("seed").sort_index()
    counts = list(scores.get("none", {}))
    labels = [label for label in ARMS if list(scores.get(label, {})) == counts]
    if len(counts) < 2 or not labels:
        return

    def draw() -> Figure:
        title = f"{axis.title} ({_count_seeds(question)})"
        with style.drawing(3.7, title) as figure:
            axes = figure.subplots(1, 2)
            for ax, metric in zip(axes, ("test/accuracy", "test/loss"), strict=True):
                factor = formatting.scale(metric)
                style.draw_margin(ax, _margin(question, metric) * factor, vertical=False)
                for colour, label in zip(PALETTE[1:], labels, strict=False):
                    gaps = [scores[label][n][metric] - scores["none"][n][metric] for n in counts]
                    gap = pd.concat(gaps, axis=1).to_numpy(dtype=float) * factor
                    ax.plot(counts, gap.T, color=colour, alpha=0.18, linewidth=0.8)
                    draw_band(ax, counts, gap, f"{label} - none", colour)
                _finish(ax, axis.label, style.metric_label(metric, difference=True), counts)
                ax.set_xticks(counts, [f"{count:,}" for count in counts])
            axes[0].legend(frameon=False, fontsize=8.5)
        return figure

    yield Picture(
        axis.name,
        f"{axis.caption}: one thin line per seed, mean and 95 % interval; the shaded strip is the "
        "equivalence margin. In accuracy more is better, in loss less.",
        draw,
    )


def variance(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """Draw the variance of each hidden layer over training."""
    runs = runs_of(question, table, arms)
    columns = r"variance/layer1_clean_at_(\d+)"
    if not runs or not numbered_columns(next(iter(runs.values())), columns):
        return
    parts = {
        "clean": ("evaluation", "-"),
        "before": ("training, before the mask", "--"),
        "after": ("training, after the mask", ":"),
    }

    def draw() -> Figure:
        title = f"Variance of the activations over training ({_count_seeds(question)})"
        with style.drawing(3.7, title) as figure:
            axes = figure.subplots(1, 2)
            for layer, ax in enumerate(axes, start=1):
                for colour, (label, rows) in zip(PALETTE, runs.items(), strict=False):
                    # Without a mask all three are the same.
                    drawn = ["clean"] if label == "none" else list(parts)
                    for part in drawn:
                        words, line = parts[part]
                        pattern = rf"variance/layer{layer}_{part}_at_(\d+)"
                        columns = numbered_columns(rows, pattern)
                        draw_mean(ax, columns, rows, f"{label}: {words}", colour, linestyle=line)
                ax.set_yscale("log")
                ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                ax.set_title(f"hidden layer {layer}", loc="left", weight="bold")
                _finish(ax, "epochs", "variance per unit, mean over units", list(columns))
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(
                handles, labels, loc="outside lower left", ncols=2, frameon=False, fontsize=9
            )
        return figure

    yield Picture(
        "curves",
        "Variance over 2,000 validation images (and, in training mode, over 32 masks), per unit "
        "and averaged over the units; mean over seeds with 95 % intervals.",
        draw,
    )


def noisy_passes(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """Draw scores against the number of noisy passes."""
    runs = runs_of(question, table, arms)
    rows = next(iter(runs.values()), pd.DataFrame())
    if not numbered_columns(rows, r"test/loss_mc(\d+)"):
        return
    kinds = (("", "as it is", PALETTE[0]), ("_tempered", "tempered", PALETTE[1]))

    def draw() -> Figure:
        title = f"Noise at test time: {next(iter(runs))} ({_count_seeds(question)})"
        with style.drawing(6.8, title) as figure:
            axes = figure.subplots(2, 2)
            for ax, name in zip(axes.flat, ("accuracy", "loss", "brier", "ece"), strict=True):
                metric = f"test/{name}"
                # A temperature moves no accuracy.
                for ending, words, colour in kinds[:1] if name == "accuracy" else kinds:
                    columns = numbered_columns(rows, rf"{metric}_mc(\d+){ending}")
                    draw_mean(ax, columns, rows, f"mean of noisy passes, {words}", colour)
                    level = rows[f"{metric}{ending}"].mean() * formatting.scale(metric)
                    line = {"linestyle": "--", "linewidth": 1.2, "color": colour}
                    ax.axhline(level, label=f"deterministic, {words}", **line)
                _finish(ax, "noisy passes averaged", style.metric_label(metric), list(columns))
            axes[0][1].legend(frameon=False, fontsize=8.5)
        return figure

    yield Picture(
        "passes",
        "The same weights, evaluated by the mean probabilities of so many random masks, against "
        "the deterministic pass (dashed); tempered: with the temperature that fits the validation "
        "images. Mean over seeds, 95 % intervals.",
        draw,
    )


MAKERS: dict[str, Callable[[Question, pd.DataFrame, Arms], Iterator[Picture]]] = {
    "epochs": horizons_and_sizes,
    "variance": variance,
    "test-time": noisy_passes,
    "dropconnect": grids.dropconnect,
}
"""Question -> what draws its pictures."""


def _margin(question: Question, metric: str) -> float:
    """Return the margin of the question's plain differences on a metric; slopes have smaller
    ones."""
    return max(contrast.margin for contrast in question.contrasts if contrast.metric == metric)


def _finish(ax: Axes, x: str, y: str, ticks: Sequence[int]) -> None:
    ax.set_xscale("log")
    ax.set_xticks(list(ticks), [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(True, axis="y")
    ax.set_xlabel(x)
    ax.set_ylabel(y)


def _count_seeds(question: Question) -> str:
    return f"n = {formatting.plural(len(question.seeds), 'seed')}"
