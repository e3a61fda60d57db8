"""The pictures that single questions add to the common figure: curves over epochs or passes, and planes of rates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from scipy import stats

from analysis import wording
from analysis.answer import Picture
from analysis.plots import BAND, GREY, INK, STYLE, WIDTH
from study.schema import EXPLORE, Question, higher_is_better

Arms = Mapping[str, Mapping[str, str]]
PALETTE = ("#0072b2", "#b8480a", "#00714f", "#8a5a9e", "#7b8794")  # Okabe and Ito's, darkened


def of(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """The pictures of a question; one whose data the table lacks is left out."""
    maker = MAKERS.get(question.name)
    if maker:
        yield from maker(question, table, arms)


def runs_of(question: Question, table: pd.DataFrame, arms: Arms) -> dict[str, pd.DataFrame]:
    """Arm label -> the rows of its declared seeds, for the question's first recipe."""
    recipe = question.contrasts[0].recipe
    rows = table.loc[(table["phase"] == question.phase) & table["seed"].isin(question.seeds)]
    labels = dict.fromkeys(label for one in question.contrasts if one.recipe == recipe for label, _, _ in one.terms)
    of_arm = {label: rows.loc[rows["arm"] == arms.get(recipe, {}).get(label, "")] for label in labels}
    return {label: found.set_index("seed").sort_index() for label, found in of_arm.items() if len(found)}


def marks(rows: pd.DataFrame, pattern: str) -> dict[int, str]:
    """Number -> column, of the columns that fit a pattern with one group and hold values in these rows."""
    found = {int(match[1]): match[0] for name in rows.columns if (match := re.fullmatch(pattern, name))}
    return {number: found[number] for number in sorted(found) if rows[found[number]].notna().all()}


def line(ax: Axes, columns: dict[int, str], rows: pd.DataFrame, label: str, colour: str, **style: object) -> None:
    """Mean over seeds with its 95 % t interval, against the number of epochs or passes."""
    scores = rows[list(columns.values())].to_numpy(dtype=float) * wording.scale(next(iter(columns.values())))
    band(ax, list(columns), scores, label, colour, **style)


def band(ax: Axes, x: Sequence[float], scores: np.ndarray, label: str, colour: str, **style: object) -> None:
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
        figure, axes = _grid(2, 2, f"{question.title} ({_seeds(question)}, constant learning rate)")
        for (left, right), metric in zip(axes, ("test/accuracy", "test/loss"), strict=True):
            columns = marks(runs["none"], rf"{metric}_at_(\d+)")
            margin = next(
                (c.margin for c in question.contrasts if c.metric == metric and c.family[:6] != "slopes"), 0.0
            )
            factor = wording.scale(metric)
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
                unit = wording.unit(metric, difference=bool(what))
                _finish(ax, "epochs", f"{what}{wording.metric_name(metric)} ({unit})", list(columns))
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
    parts = {"clean": "evaluation", "before": "training, before the mask", "after": "training, after the mask"}

    def draw() -> Figure:
        figure, axes = _grid(1, 2, f"Variance of the activations over training ({_seeds(question)})")
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
            *axes[0][0].get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False, fontsize=9
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
        figure, axes = _grid(2, 2, f"Noise at test time: {next(iter(runs))} ({_seeds(question)})")
        for ax, name in zip(axes.flat, ("accuracy", "loss", "brier", "ece"), strict=True):
            metric = f"test/{name}"
            for colour, ending, words in ((PALETTE[0], "", "as it is"), (PALETTE[1], "_tempered", "tempered")):
                columns = marks(rows, rf"{metric}_mc(\d+){ending}")
                if name == "accuracy" and ending:
                    continue  # a temperature moves no accuracy
                line(ax, columns, rows, f"mean of noisy passes, {words}", colour)
                level = rows[f"{metric}{ending}"].mean() * wording.scale(metric)
                ax.axhline(level, color=colour, linestyle="--", linewidth=1.2, label=f"deterministic, {words}")
            unit = wording.unit(metric)
            _finish(
                ax,
                "noisy passes averaged",
                f"{wording.metric_name(metric)}{f' ({unit})' if unit else ''}",
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


def explored(question: Question, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the question's arms that are shown and not judged."""
    mine = table["question"].str.split(",").map(lambda names: question.name in names)
    return table.loc[(table["phase"] == EXPLORE) & mine.fillna(False).astype(bool)]


def plane(
    question: Question, table: pd.DataFrame, x: str, y: str, labels: Sequence[str], caption: str
) -> Iterator[Picture]:
    """Validation accuracy of the explored arms over two of their settings, for a question with a grid."""
    rows = explored(question, table)
    if rows[[x, y]].drop_duplicates().shape[0] < 4:
        return

    def draw() -> Figure:
        seeds, recipe = rows["seed"].nunique(), rows["recipe"].iloc[0]
        title = f"{recipe}: mean of {wording.plural(seeds, 'seed')}; * best of its column"
        metrics = {"val/accuracy": ("cividis", "%.2f"), "val/loss": ("cividis_r", "%.3f")}
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(WIDTH, 1.4 + 0.42 * rows[y].nunique()), layout="constrained")
            for ax, (metric, (colours, digits)) in zip(figure.subplots(1, 2), metrics.items(), strict=True):
                grid = wording.scale(metric) * rows.pivot_table(index=y, columns=x, values=metric, aggfunc="mean")
                scores = grid.to_numpy()
                best = np.nanmax(scores, axis=0) if higher_is_better(metric) else np.nanmin(scores, axis=0)
                texts = np.char.add(np.char.mod(digits, scores), np.where(scores == best, "*", ""))
                sns.heatmap(grid, ax=ax, annot=texts, fmt="", cmap=colours, cbar=False, annot_kws={"size": 9})
                ax.set(xlabel=labels[0], ylabel=labels[1])
                ax.set_yticklabels([f"{value:g}" for value in grid.index], rotation=0)
                ax.set_title(f"{wording.metric_name(metric)} ({wording.unit(metric)})", loc="left", size=10)
                ax.invert_yaxis()
            figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
        return figure

    yield Picture("grid", caption, draw)


def swap(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """The plane of the two rates."""
    caption = (
        "Dropout over the plane of its two rates, on validation images, the brighter the better: swapping mirrors at "
        "the diagonal."
    )
    yield from plane(question, table, "rate1", "rate2", ("rate of layer 1", "rate of layer 2"), caption)


def additivity(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """Rates against weight decay."""
    caption = (
        "How the best weight decay moves with the dropout rate (the same in both layers), on validation images: the "
        "brighter the better."
    )
    yield from plane(question, table, "rate1", "weight_decay", ("rate of both layers", "weight decay"), caption)


def dropconnect(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """True DropConnect beside what is cheaper."""
    rows = explored(question, table)
    if "dropconnect-example" not in set(rows["noise"]):
        return

    def draw() -> Figure:
        figure, axes = _grid(
            1, 2, f"{wording.plural(int(rows['epochs'].iloc[0]), 'epoch')} at rate 0.5, on validation images"
        )
        names = list(dict.fromkeys(rows["noise"]))
        for ax, metric in zip(axes[0], ("val/accuracy", "val/loss"), strict=True):
            for place, name in enumerate(names):
                scores = rows.loc[rows["noise"] == name, metric].to_numpy(dtype=float) * wording.scale(metric)
                ax.plot(scores, np.full(len(scores), place), "o", color=PALETTE[0], alpha=0.55, markersize=6)
                ax.plot(scores.mean(), place, "D", color=INK, markersize=6)
            ax.set_yticks(
                range(len(names)),
                [{"dropconnect-example": "DropConnect, a mask for each example"}.get(n, n) for n in names],
            )
            ax.invert_yaxis()
            ax.set_ylim(len(names) - 0.5, -0.5)
            ax.grid(True, axis="x", color=STYLE["grid.color"])
            ax.set_xlabel(f"{wording.metric_name(metric)} ({wording.unit(metric)})")
            ax.tick_params(colors=GREY, labelcolor=INK)
        axes[0][1].set_yticklabels([])
        return figure

    yield Picture(
        "example",
        "DropConnect as published draws a mask for every example, at a hundred times the cost; dropconnect shares one "
        "over the batch, gaussian-weights matches its moments. A short training on few seeds: points are seeds, "
        "diamonds their means; a picture, not a test.",
        draw,
    )


MAKERS: dict[str, Callable[[Question, pd.DataFrame, Arms], Iterator[Picture]]] = {
    "epochs": epochs,
    "variance": variance,
    "test-time": test_time,
    "swap": swap,
    "additivity": additivity,
    "dropconnect": dropconnect,
}


def _grid(rows: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.6 + 3.1 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=12)
    return figure, axes


def _finish(ax: Axes, x: str, y: str, ticks: Sequence[int]) -> None:
    ax.set_xscale("log")
    ax.set_xticks(list(ticks), [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(True, axis="y", color=STYLE["grid.color"])
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.tick_params(colors=GREY, labelcolor=INK)


def _seeds(question: Question) -> str:
    return f"n = {wording.plural(len(question.seeds), 'seed')}"
