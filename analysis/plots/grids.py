"""Pictures of what was explored: arms on few seeds and validation images, shown and not judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis import formatting
from analysis.plots.forest import GREY, INK, STYLE, WIDTH
from analysis.schema import EXPLORE, Question, higher_is_better
from analysis.stats.contrasts import serves
from analysis.stats.results import Picture

Arms = Mapping[str, Mapping[str, str]]
PALETTE = ("#0072b2", "#b8480a", "#00714f", "#8a5a9e", "#7b8794")  # Okabe and Ito's, darkened


def rows_of(question: Question, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the question's arms that are shown and not judged."""
    return table.loc[(table["phase"] == EXPLORE) & serves(table, question.name)]


def plane(
    question: Question, table: pd.DataFrame, x: str, y: str, labels: Sequence[str], caption: str
) -> Iterator[Picture]:
    """Validation accuracy of the explored arms over two of their settings, for a question with a grid."""
    rows = rows_of(question, table)
    if rows[[x, y]].drop_duplicates().shape[0] < 4:
        return

    def draw() -> Figure:
        seeds, recipe = rows["seed"].nunique(), rows["recipe"].iloc[0]
        title = f"{recipe}: mean of {formatting.plural(seeds, 'seed')}; * best of its column"
        metrics = {"val/accuracy": ("cividis", "%.2f"), "val/loss": ("cividis_r", "%.3f")}
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(WIDTH, 1.4 + 0.42 * rows[y].nunique()), layout="constrained")
            for ax, (metric, (colours, digits)) in zip(
                figure.subplots(1, 2), metrics.items(), strict=True
            ):
                scored = formatting.scale(metric) * rows.pivot_table(
                    index=y, columns=x, values=metric, aggfunc="mean"
                )
                scores = scored.to_numpy()
                best = (
                    np.nanmax(scores, axis=0)
                    if higher_is_better(metric)
                    else np.nanmin(scores, axis=0)
                )
                texts = np.char.add(np.char.mod(digits, scores), np.where(scores == best, "*", ""))
                sns.heatmap(
                    scored,
                    ax=ax,
                    annot=texts,
                    fmt="",
                    cmap=colours,
                    cbar=False,
                    annot_kws={"size": 9},
                )
                ax.set(xlabel=labels[0], ylabel=labels[1])
                ax.set_yticklabels([f"{value:g}" for value in scored.index], rotation=0)
                ax.set_title(
                    f"{formatting.metric_name(metric)} ({formatting.unit(metric)})",
                    loc="left",
                    size=10,
                )
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
    yield from plane(
        question, table, "rate1", "rate2", ("rate of layer 1", "rate of layer 2"), caption
    )


def additivity(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """Rates against weight decay."""
    caption = (
        "How the best weight decay moves with the dropout rate (the same in both layers), on validation images: the "
        "brighter the better."
    )
    yield from plane(
        question, table, "rate1", "weight_decay", ("rate of both layers", "weight decay"), caption
    )


def dropconnect(question: Question, table: pd.DataFrame, arms: Arms) -> Iterator[Picture]:
    """True DropConnect beside what is cheaper."""
    rows = rows_of(question, table)
    if "dropconnect-example" not in set(rows["noise"]):
        return

    def draw() -> Figure:
        figure, axes = grid(
            1,
            2,
            f"{formatting.plural(int(rows['epochs'].iloc[0]), 'epoch')} at rate 0.5, on validation images",
        )
        names = list(dict.fromkeys(rows["noise"]))
        for ax, metric in zip(axes[0], ("val/accuracy", "val/loss"), strict=True):
            for place, name in enumerate(names):
                scores = rows.loc[rows["noise"] == name, metric].to_numpy(
                    dtype=float
                ) * formatting.scale(metric)
                ax.plot(
                    scores,
                    np.full(len(scores), place),
                    "o",
                    color=PALETTE[0],
                    alpha=0.55,
                    markersize=6,
                )
                ax.plot(scores.mean(), place, "D", color=INK, markersize=6)
            ax.set_yticks(
                range(len(names)),
                [
                    {"dropconnect-example": "DropConnect, a mask for each example"}.get(n, n)
                    for n in names
                ],
            )
            ax.invert_yaxis()
            ax.set_ylim(len(names) - 0.5, -0.5)
            ax.grid(True, axis="x", color=STYLE["grid.color"])
            ax.set_xlabel(f"{formatting.metric_name(metric)} ({formatting.unit(metric)})")
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


def grid(rows: int, columns: int, title: str) -> tuple[Figure, np.ndarray]:
    """A figure with its title and axes, in the report's style."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.6 + 3.1 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=12)
    return figure, axes
