"""Training against validation loss: where the two part, the network overfits."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.formatting import NAMES, RecipeWords
from analysis.plots import style
from analysis.plots.forest import configuration
from analysis.plots.style import FAINT, GREY, PALETTE
from analysis.store.curves import TRAINING, VALIDATION, runs_of


def overfitting_figures(
    curves: pd.DataFrame, table: pd.DataFrame, recipes: RecipeWords = NAMES
) -> dict[str, tuple[Figure, str]]:
    """Return recipe -> figure and caption; a panel for each noise type.

    Args:
        curves: of `analysis.store.curves.read`.
        table: run table.
        recipes: what each recipe is in words.
    """
    return {
        str(recipe): (_draw(recipes[str(recipe)], rows, table), _caption(rows))
        for recipe, rows in curves.groupby("recipe", sort=False)
    }


def _draw(recipe: str, rows: pd.DataFrame, table: pd.DataFrame) -> Figure:
    arms = list(rows.groupby("arm", sort=False))
    title = f"{recipe}: training and validation loss of tuned arms, mean over seeds"
    with style.drawing(3.6, title) as figure:
        axes = figure.subplots(1, len(arms), sharey=True, squeeze=False)[0]
        for ax, (arm, of_arm) in zip(axes, arms, strict=True):
            _draw_panel(ax, of_arm)
            noise = str(of_arm["noise"].iloc[0])
            ax.set_title(
                "no noise" if noise == "none" else noise, loc="left", weight="bold", pad=18
            )
            settings = configuration(runs_of(table, str(arm)), noise)
            ax.text(0, 1.02, settings, transform=ax.transAxes, size=8.5, color=GREY)
            ax.set_xlabel("epochs")
        axes[0].set_ylabel("loss (nats)")
        top = axes[0].get_ylim()[1]  # with room for the last values above and below the lines
        axes[0].set_ylim(-0.05 * top, 1.08 * top)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def _draw_panel(ax: Axes, losses: pd.DataFrame) -> None:
    epochs = losses["epoch"].to_numpy()
    training, validation = losses[TRAINING].to_numpy(), losses[VALIDATION].to_numpy()
    above = 1 if validation[-1] >= training[-1] else -1
    for values, colour, label, side in (
        (validation, PALETTE[1], "validation, without noise", above),
        (training, PALETTE[0], "training, with the noise, mean of the epoch", -above),
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
    ax.fill_between(
        epochs, training, validation, color=FAINT, alpha=0.5, linewidth=0, label="the gap"
    )
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.grid(True, axis="y", linewidth=0.6)


def _caption(rows: pd.DataFrame) -> str:
    first = rows.loc[rows["arm"] == rows["arm"].iloc[0]]
    last, noise = first.iloc[-1], first["noise"].iloc[0]
    words = "Without noise" if noise == "none" else f"With {noise}"
    overfits = last[VALIDATION] > last[TRAINING]
    meaning = "the shaded gap is how far it overfits" if overfits else "it does not overfit"
    return (
        f"{words} the network's training loss ends at {last[TRAINING]:.2f} nats and its validation "
        f"loss at {last[VALIDATION]:.2f}: {meaning}."
    )
