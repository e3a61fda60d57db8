"""Pictures that single questions add to the common figure: curves over epochs or passes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from analysis import formatting
from analysis.plots import grids, ingredients, reliability, style
from analysis.plots.style import PALETTE
from analysis.questions.base import Evidence
from analysis.questions.epochs import ARMS, DECAYED, SIZES
from analysis.stats.paired import MIN_SEEDS, interval
from analysis.stats.results import Picture

METRICS = ("test/accuracy", "test/loss")


def question_pictures(evidence: Evidence) -> Iterator[Picture]:
    """Yield the pictures of a question; one whose data the table lacks is left out."""
    if maker := MAKERS.get(evidence.question.name):
        yield from maker(evidence)


def numbered(rows: pd.DataFrame, pattern: str) -> pd.DataFrame:
    """Return the columns that fit a pattern with one group and have all values, in the order of the
    numbers in it, which are their names."""
    columns: dict[int, pd.Series] = {}
    for name in rows.columns:
        match = re.fullmatch(pattern, name)
        if match and rows[name].notna().all():
            columns[int(match[1])] = rows[name].astype(float)
    return pd.DataFrame({number: columns[number] for number in sorted(columns)})


def draw_mean(ax: Axes, scores: pd.DataFrame, label: str, colour: str, **line: object) -> None:
    """Draw the mean over seeds with its 95 % t interval.

    Args:
        scores: in the shown unit, a row for each seed, a column for each place on the x axis.
    """
    places = list(scores.columns)
    ax.plot(places, scores.mean(), marker="o", markersize=4, color=colour, label=label, **line)  # type: ignore[arg-type]
    if len(scores) >= MIN_SEEDS:
        low, high = zip(*(interval(scores[place]) for place in places), strict=True)
        ax.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)


def draw_gaps(
    ax: Axes,
    evidence: Evidence,
    metric: str,
    gaps: Mapping[str, pd.DataFrame],
    colours: Mapping[str, str],
    axis: str,
    ticks: Sequence[int],
) -> None:
    """Draw the paired gaps of arms to no noise beside their margin, a thin line for each seed.

    Args:
        gaps: arm label -> gaps in the metric's unit, a row for each seed, a column for each place
            on the x axis.
        axis: label of the x axis.
        ticks: places on it.
    """
    factor = formatting.scale(metric)
    # Of the question's plain differences: slopes have smaller margins.
    margin = max(one.margin for one in evidence.question.contrasts if one.metric == metric)
    style.draw_margin(ax, margin * factor, vertical=False)
    for label, gap in gaps.items():
        shown = gap * factor
        ax.plot(list(gap.columns), shown.T, color=colours[label], alpha=0.18, linewidth=0.8)
        draw_mean(ax, shown, f"{label} - none", colours[label])
    _finish(ax, axis, style.metric_label(metric, difference=True), ticks)


AXES = {
    "sizes": (
        SIZES,
        "training images",
        "What dropout gains, over the size of the training set",
        "The paired gap to no noise after equally many steps on so many training images",
    ),
    "decayed": (
        DECAYED,
        "epochs",
        "What dropout gains in trainings of other lengths, each down to learning rate 0",
        "The paired gap to no noise at the end of trainings of so many epochs, of which each "
        "has its own schedule down to learning rate 0",
    ),
}
"""Picture -> recipe with its place on an axis, label of the axis, title, beginning of the caption.
The trainings of an axis differ in one thing, and their ends are compared."""


def gaps_to_none(evidence: Evidence) -> Iterator[Picture]:
    """Draw the axes along which dropout's gain is followed."""
    yield from horizons(evidence)
    for name in AXES:
        yield from ends_of_training(evidence, name)


def horizons(evidence: Evidence) -> Iterator[Picture]:
    """Draw scores and gaps against the epochs."""
    runs = evidence.runs()
    if "none" not in runs or numbered(runs["none"], r"test/accuracy_at_(\d+)").empty:
        return
    colours = dict(zip(runs, PALETTE, strict=False))

    def draw() -> Figure:
        title = f"{evidence.question.title} ({_count_seeds(evidence)}, constant learning rate)"
        with style.drawing(6.8, title) as figure:
            axes = figure.subplots(2, 2)
            for (left, right), metric in zip(axes, METRICS, strict=True):
                none = numbered(runs["none"], rf"{metric}_at_(\d+)")
                gaps: dict[str, pd.DataFrame] = {}
                for label, colour in colours.items():
                    scores = numbered(runs[label], rf"{metric}_at_(\d+)")
                    draw_mean(left, scores * formatting.scale(metric), label, colour)
                    if label != "none":
                        gaps[label] = scores - none
                _finish(left, "epochs", style.metric_label(metric), list(none))
                left.legend()
                draw_gaps(right, evidence, metric, gaps, colours, "epochs", list(none))
            axes[0][1].legend()
        return figure

    yield Picture(
        "curves",
        "Left: mean test scores and their 95 % intervals after so many epochs of one training. "
        "Right: the paired gap to no noise, one thin line per seed; the shaded strip is the "
        "equivalence margin.",
        draw,
    )


def ends_of_training(evidence: Evidence, name: str) -> Iterator[Picture]:
    """Draw the gap to no noise at the ends of the trainings of an axis."""
    recipes, axis, words, caption = AXES[name]
    runs = {place: evidence.runs(recipe) for recipe, place in recipes.items()}
    runs = {place: of_place for place, of_place in runs.items() if "none" in of_place}
    labels = [label for label in ARMS if all(label in of_place for of_place in runs.values())]
    if len(runs) < 2 or not labels:
        return
    colours = dict(zip(labels, PALETTE[1:], strict=False))

    def draw() -> Figure:
        with style.drawing(3.7, f"{words} ({_count_seeds(evidence)})") as figure:
            axes = figure.subplots(1, 2)
            for ax, metric in zip(axes, METRICS, strict=True):
                gaps: dict[str, pd.DataFrame] = {}
                for label in labels:
                    ends = {n: of[label][metric] - of["none"][metric] for n, of in runs.items()}
                    gaps[label] = pd.DataFrame(ends).astype(float)
                draw_gaps(ax, evidence, metric, gaps, colours, axis, list(runs))
                ax.set_xticks(list(runs), [f"{place:,}" for place in runs])
            axes[0].legend()
        return figure

    yield Picture(
        name,
        f"{caption}: one thin line per seed, mean and 95 % interval; the shaded strip is the "
        "equivalence margin. In accuracy more is better, in loss less.",
        draw,
    )


def variance(evidence: Evidence) -> Iterator[Picture]:
    """Draw the variance of each hidden layer over training."""
    runs = evidence.runs()
    first = next(iter(runs.values()), pd.DataFrame())
    if numbered(first, r"variance/layer1_clean_at_(\d+)").empty:
        return
    parts = {
        "clean": ("evaluation", "-"),
        "before": ("training, before the mask", "--"),
        "after": ("training, after the mask", ":"),
    }

    def draw() -> Figure:
        title = f"Variance of the activations over training ({_count_seeds(evidence)})"
        with style.drawing(3.7, title) as figure:
            axes = figure.subplots(1, 2)
            for layer, ax in enumerate(axes, start=1):
                for colour, (label, rows) in zip(PALETTE, runs.items(), strict=False):
                    # Without a mask all three are the same.
                    drawn = ["clean"] if label == "none" else list(parts)
                    for part in drawn:
                        words, line = parts[part]
                        variances = numbered(rows, rf"variance/layer{layer}_{part}_at_(\d+)")
                        draw_mean(ax, variances, f"{label}: {words}", colour, linestyle=line)
                ax.set_yscale("log")
                ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                ax.set_title(f"hidden layer {layer}", loc="left", weight="bold")
                _finish(ax, "epochs", "variance per unit, mean over units", list(variances))
            marks = axes[0].get_legend_handles_labels()
            figure.legend(*marks, loc="outside lower left", ncols=2, fontsize=9)
        return figure

    yield Picture(
        "curves",
        "Variance over 2,000 validation images (and, in training mode, over 32 masks), per unit "
        "and averaged over the units; mean over seeds with 95 % intervals.",
        draw,
    )


def noisy_passes(evidence: Evidence) -> Iterator[Picture]:
    """Draw scores against the number of noisy passes."""
    runs = evidence.runs()
    rows = next(iter(runs.values()), pd.DataFrame())
    if numbered(rows, r"test/loss_mc(\d+)").empty:
        return
    kinds = (("", "as it is", PALETTE[0]), ("_tempered", "tempered", PALETTE[1]))

    def draw() -> Figure:
        title = f"Noise at test time: {next(iter(runs))} ({_count_seeds(evidence)})"
        with style.drawing(6.8, title) as figure:
            axes = figure.subplots(2, 2)
            for ax, name in zip(axes.flat, ("accuracy", "loss", "brier", "ece"), strict=True):
                metric, factor = f"test/{name}", formatting.scale(f"test/{name}")
                # A temperature moves no accuracy.
                for ending, words, colour in kinds[:1] if name == "accuracy" else kinds:
                    scores = numbered(rows, rf"{metric}_mc(\d+){ending}") * factor
                    draw_mean(ax, scores, f"mean of noisy passes, {words}", colour)
                    level = rows[f"{metric}{ending}"].mean() * factor
                    line = {"linestyle": "--", "linewidth": 1.2, "color": colour}
                    ax.axhline(level, label=f"deterministic, {words}", **line)
                _finish(ax, "noisy passes averaged", style.metric_label(metric), list(scores))
            axes[0][1].legend()
        return figure

    yield Picture(
        "passes",
        "The same weights, evaluated by the mean probabilities of so many random masks, against "
        "the deterministic pass (dashed); tempered: with the temperature that fits the validation "
        "images. Mean over seeds, 95 % intervals.",
        draw,
    )


def noise_at_test_time(evidence: Evidence) -> Iterator[Picture]:
    """Draw what more passes bring, and how calibrated they are."""
    yield from noisy_passes(evidence)
    yield from reliability.diagram(evidence.runs(), evidence.bins)


MAKERS: dict[str, Callable[[Evidence], Iterator[Picture]]] = {
    "swap": grids.plane,
    "epochs": gaps_to_none,
    "variance": variance,
    "test-time": noise_at_test_time,
    "additivity": grids.plane,
    "dropconnect": grids.dropconnect,
    "ingredients": ingredients.parts,
}
"""Question -> what draws its pictures."""


def _finish(ax: Axes, x: str, y: str, ticks: Sequence[int]) -> None:
    ax.set_xscale("log")
    ax.set_xticks(list(ticks), [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(True, axis="y")
    ax.set_xlabel(x)
    ax.set_ylabel(y)


def _count_seeds(evidence: Evidence) -> str:
    return f"n = {formatting.plural(len(evidence.question.seeds), 'seed')}"
