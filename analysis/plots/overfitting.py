"""Training against validation loss: where the two part, the network overfits."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.plots import style
from analysis.plots.style import FAINT, PALETTE

TRAINING, VALIDATION = "train/loss", "val/loss"


def overfitting_figures(curves: pd.DataFrame) -> dict[str, tuple[Figure, str]]:
    """Return recipe -> figure and caption; a panel for each noise type.

    Args:
        curves: of `analysis.store.curves.read`.
    """
    return {
        str(recipe): (_draw(str(recipe), rows), _caption(rows))
        for recipe, rows in curves.groupby("recipe", sort=False)
    }


def _draw(recipe: str, rows: pd.DataFrame) -> Figure:
    types = list(rows["noise"].unique())
    with style.drawing(3.4, f"{recipe}: loss over the training, tuned types") as figure:
        axes = figure.subplots(1, len(types), sharey=True, squeeze=False)[0]
        for ax, noise in zip(axes, types, strict=True):
            of_type = rows.loc[rows["noise"] == noise]
            _draw_panel(ax, of_type.pivot(index="epoch", columns="metric", values="value"))
            ax.set_title(noise, loc="left", weight="bold")
            ax.set_xlabel("epochs")
        axes[0].set_ylabel("loss (nats), mean over seeds")
        axes[0].set_ylim(bottom=-0.05 * axes[0].get_ylim()[1])
        axes[-1].legend(frameon=False, fontsize=8.5)
    return figure


def _draw_panel(ax: Axes, losses: pd.DataFrame) -> None:
    epochs = losses.index.to_numpy()
    training, validation = losses[TRAINING].to_numpy(), losses[VALIDATION].to_numpy()
    ax.fill_between(epochs, training, validation, color=FAINT, alpha=0.5, linewidth=0)
    above = 1 if validation[-1] >= training[-1] else -1
    for values, colour, label, side in (
        (validation, PALETTE[1], "validation", above),
        (training, PALETTE[0], "training", -above),
    ):
        ax.plot(epochs, values, "o-", color=colour, markersize=3, linewidth=1.6, label=label)
        ax.annotate(
            f"{values[-1]:.2f}",
            (epochs[-1], values[-1]),
            xytext=(0, 10 * side),
            textcoords="offset points",
            ha="right",
            va="center",
            size=8.5,
            color=colour,
        )
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.grid(True, axis="y", linewidth=0.6)


def _caption(rows: pd.DataFrame) -> str:
    first = rows.loc[rows["noise"] == rows["noise"].iloc[0]]
    last = first.loc[first["epoch"] == first["epoch"].max()].set_index("metric")["value"]
    return (
        f"Mean loss over the epochs; the shaded gap is what a network has learned by heart. With "
        f"the tuned {first['noise'].iloc[0]} the training loss ends at {last[TRAINING]:.2f} nats, "
        f"the validation loss at {last[VALIDATION]:.2f}. A training loss is taken with the noise, "
        "during the epoch."
    )
