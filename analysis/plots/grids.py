"""Pictures of what was explored: arms on few seeds and validation images, shown and not judged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis import formatting
from analysis.plots import style
from analysis.questions.base import Evidence
from analysis.schema import EXPLORE, higher_is_better
from analysis.stats.contrasts import rows_for_question
from analysis.stats.results import Picture

METRICS = {"val/accuracy": ("cividis", "%.2f"), "val/loss": ("cividis_r", "%.3f")}
"""Metric -> colours, the brighter the better, and digits."""


def explored_rows(evidence: Evidence) -> pd.DataFrame:
    """Return the rows of the question's arms that are shown and not judged."""
    table = evidence.table
    return table.loc[(table["phase"] == EXPLORE) & rows_for_question(table, evidence.question.name)]


PLANES = {
    "swap": (
        {"rate1": "rate of layer 1", "rate2": "rate of layer 2"},
        "Dropout over the plane of its two rates, on validation images, the brighter the better: "
        "swapping mirrors at the diagonal.",
    ),
    "additivity": (
        {"rate1": "rate of both layers", "weight_decay": "weight decay"},
        "How the best weight decay moves with the dropout rate (the same in both layers), on "
        "validation images: the brighter the better.",
    ),
}
"""Question -> columns of the run table with their labels, and the caption."""


def plane(evidence: Evidence) -> Iterator[Picture]:
    """Draw validation scores over two settings."""
    labels, caption = PLANES[evidence.question.name]
    rows = explored_rows(evidence)
    x, y = labels
    if len(rows[[x, y]].drop_duplicates()) < 4:
        return

    def draw() -> Figure:
        seeds = formatting.plural(rows["seed"].nunique(), "seed")
        recipe = evidence.recipes[str(rows["recipe"].iloc[0])]
        title = f"{recipe}: mean of {seeds}; * best of its column"
        with style.drawing(1.4 + 0.42 * rows[y].nunique(), title) as figure:
            axes = figure.subplots(1, len(METRICS))
            for ax, (metric, (colours, digits)) in zip(axes, METRICS.items(), strict=True):
                means = rows.pivot_table(index=y, columns=x, values=metric, aggfunc="mean")
                means *= formatting.scale(metric)
                scores = means.to_numpy()
                best_of = np.nanmax if higher_is_better(metric) else np.nanmin
                stars = np.where(scores == best_of(scores, axis=0), "*", "")
                texts = np.char.add(np.char.mod(digits, scores), stars)
                sns.heatmap(means, ax=ax, annot=texts, fmt="", cmap=colours, cbar=False)
                ax.set(xlabel=labels[x], ylabel=labels[y])
                ax.set_yticklabels([f"{value:g}" for value in means.index], rotation=0)
                ax.set_title(style.metric_label(metric), loc="left", size=10)
                ax.invert_yaxis()
        return figure

    yield Picture("grid", caption, draw)


def dropconnect(evidence: Evidence) -> Iterator[Picture]:
    """Draw true DropConnect beside what is cheaper."""
    rows = explored_rows(evidence)
    if "dropconnect-example" not in set(rows["noise"]):
        return

    def draw() -> Figure:
        epochs = formatting.plural(int(rows["epochs"].iloc[0]), "epoch")
        names = list(dict.fromkeys(rows["noise"]))
        ticks = {"dropconnect-example": "DropConnect, a mask for each example"}
        title = f"{epochs} at rate 0.5, on validation images"
        with style.drawing(3.4, title) as figure:
            for ax, metric in zip(figure.subplots(1, 2, sharey=True), METRICS, strict=True):
                for place, name in enumerate(names):
                    scores = rows.loc[rows["noise"] == name, metric].to_numpy(dtype=float)
                    none = (np.nan, np.nan)
                    style.draw_seeds(ax, place, scores * formatting.scale(metric), none)
                style.set_lines(ax, [ticks.get(name, name) for name in names])
                ax.set_xlabel(style.metric_label(metric))
        return figure

    yield Picture(
        "example",
        "DropConnect as published draws a mask for every example, at a hundred times the cost; "
        "dropconnect shares one over the batch, gaussian-weights matches its moments. A short "
        "training on few seeds: points are seeds, diamonds their means; a picture, not a test.",
        draw,
    )
