"""The leaderboard of noise types: each tuned arm's gain over tuned dropout and over tuned no noise, best first.

Gains are turned so that positive is better: accuracy gained in percentage points, loss saved in nats.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis import formatting
from analysis.plots.forest import BAND, GREY, INK, SEED, STYLE, VERDICT_COLOURS, WIDTH
from analysis.schema import Question, higher_is_better
from analysis.stats.paired import gain_interval
from analysis.stats.results import ContrastAnswer, Picture

Arms = Mapping[str, Mapping[str, str]]

LABEL = "tuned "
DROPOUT, NONE = "dropout", "none"
ACCURACY, LOSS = "test/accuracy", "test/loss"
PANELS = (
    (ACCURACY, DROPOUT, "test accuracy gained\nover tuned dropout (pp)"),
    (ACCURACY, NONE, "test accuracy gained\nover tuned no noise (pp)"),
    (LOSS, DROPOUT, "test loss saved\nagainst tuned dropout (nats)"),
)
SCALE_IN_MARGINS = 10
"""No axis reaches further than so many margins: what lies beyond is told by an arrow and its number."""
MIRRORED = {"better": "worse", "worse": "better"}
CAPTION = (
    "The tuned arm of every noise type under {recipe}, the best mean gain over tuned dropout first; both references "
    "are in bold. Faint points are seeds, diamonds their means with 95 % paired-t intervals (not adjusted for "
    "multiplicity); the colour is the verdict, which is (Holm). Within the shaded margin a difference is negligible. "
    "An arrow stands for a gain off the scale. Right: training time per epoch and network, relative to dropout's, as "
    "the study's own populations took it; other work on the machine counts too."
)


@dataclass(frozen=True)
class Gain:
    """A noise type against a rival, in the shown unit, positive is better; `seeds` has the shape (seeds,)."""

    seeds: np.ndarray
    mean: float
    low: float
    high: float
    verdict: str


def pictures(
    question: Question, table: pd.DataFrame, arms: Arms, contrasts: Iterable[ContrastAnswer]
) -> list[Picture]:
    """One leaderboard for each recipe of the question, named by it.

    Args:
        question: as declared; its contrasts are differences of two tuned arms.
        table: run table, one row per seed run.
        arms: recipe -> arm label -> arm name.
        contrasts: the answered ones among the declared.
    """
    gains = gains_of(contrasts)

    def picture(recipe: str) -> Picture:
        caption = CAPTION.format(recipe=recipe)
        return Picture(recipe, caption, lambda: draw(question, table, arms, gains, recipe))

    return [
        picture(recipe)
        for recipe in dict.fromkeys(contrast.recipe for contrast in question.contrasts)
    ]


def gains_of(contrasts: Iterable[ContrastAnswer]) -> dict[tuple[str, str, str, str], Gain]:
    """(recipe, metric, noise type, rival) -> gain; each difference of two arms is told from both sides."""
    gains = {}
    for one in contrasts:
        contrast, factor = one.contrast, formatting.scale(one.contrast.metric)
        # By coefficient: the declaration comes back from the store with its terms in alphabetical order.
        plus_first = sorted(contrast.terms, key=lambda term: -term[2])
        first, second = (label.removeprefix(LABEL) for label, _, _ in plus_first)
        sign = 1 if higher_is_better(contrast.metric) else -1
        seeds = sign * factor * one.estimate.differences.to_numpy(dtype=float)
        low, high = (factor * end for end in gain_interval(one))
        verdict = one.verdict.partition(",")[0]
        where = contrast.recipe, contrast.metric
        gains[*where, first, second] = Gain(seeds, float(seeds.mean()), low, high, verdict)
        mirrored = MIRRORED.get(verdict, verdict)
        gains[*where, second, first] = Gain(-seeds, -float(seeds.mean()), -high, -low, mirrored)
    return gains


def costs(question: Question, table: pd.DataFrame, arms: Mapping[str, str]) -> dict[str, float]:
    """Noise type -> seconds per epoch and network of its tuned arm, over those of tuned dropout; of one recipe."""
    rows = table.loc[(table["phase"] == question.phase) & table["seed"].isin(question.seeds)]
    seconds = (rows["seconds"] / rows["epochs"]).astype(float).groupby(rows["arm"]).mean()
    dropout = seconds.get(arms.get(LABEL + DROPOUT, ""), math.nan)
    tuned = {
        label.removeprefix(LABEL): arm for label, arm in arms.items() if label.startswith(LABEL)
    }
    return {noise: float(seconds.get(arm, math.nan) / dropout) for noise, arm in tuned.items()}


def draw(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    gains: Mapping[tuple[str, str, str, str], Gain],
    recipe: str,
) -> Figure:
    """The leaderboard of one recipe: a row for each noise type with a tuned arm, a panel for each of PANELS."""
    of_recipe = arms.get(recipe, {})
    labels = dict.fromkeys(
        label
        for one in question.contrasts
        if one.recipe == recipe
        for label, _, _ in one.terms
        if label in of_recipe
    )
    first = gains_over(
        gains, (recipe, ACCURACY), DROPOUT, [label.removeprefix(LABEL) for label in labels]
    )
    types = sorted(
        first, key=lambda noise: (math.isnan(first[noise]), -first[noise])
    )  # stable: ties as declared
    off = _switched_off(table, {label: of_recipe[label] for label in labels})
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.2 + 0.33 * max(1, len(types))), layout="constrained")
        axes = figure.subplots(
            1, len(PANELS) + 1, width_ratios=[*[1.0] * len(PANELS), 0.42], sharey=True
        )
        margins = {
            one.metric: one.margin * formatting.scale(one.metric) for one in question.contrasts
        }
        for ax, (metric, rival, title) in zip(axes, PANELS, strict=False):
            found = {noise: gains.get((recipe, metric, noise, rival)) for noise in types}
            _draw_gains(ax, found, rival, margins.get(metric, math.nan))
            ax.set_xlabel(title)
        _draw_costs(axes[-1], types, costs(question, table, of_recipe))
        names = [f"{noise} (noise off)" if noise in off else noise for noise in types]
        axes[0].set_yticks(range(len(types)), names)
        axes[0].set_ylim(max(1, len(types)) - 0.4, -0.6)
        for noise, tick in zip(types, axes[0].get_yticklabels(), strict=True):
            tick.set_fontweight("bold" if noise in (DROPOUT, NONE) else "normal")
        n = formatting.plural(len(question.seeds), "seed")
        figure.suptitle(
            f"Tuned noise types under {recipe}, best first ({n})",
            x=0.01,
            ha="left",
            weight="bold",
            size=12,
        )
        figure.legend(
            handles=_legend(question),
            loc="outside lower left",
            ncols=4,
            frameon=False,
            fontsize=8.5,
        )
    return figure


def gains_over(
    gains: Mapping[tuple[str, str, str, str], Gain],
    where: tuple[str, str],
    rival: str,
    types: Iterable[str],
) -> dict[str, float]:
    """Noise type -> mean gain over the rival, `where` a recipe and a metric; 0 for the rival, NaN if not answered."""
    found = {noise: gains.get((*where, noise, rival)) for noise in types}
    return {
        noise: 0.0 if noise == rival else one.mean if one else math.nan
        for noise, one in found.items()
    }


def _draw_gains(ax: Axes, found: Mapping[str, Gain | None], rival: str, margin: float) -> None:
    farthest = SCALE_IN_MARGINS * margin
    shown = [one for one in found.values() if one and abs(one.mean) <= farthest]
    ends = [end for one in shown for end in (one.low, one.high, *one.seeds)]
    low, high = max(min([-margin, *ends]), -farthest), min(max([margin, *ends]), farthest)
    ax.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    ax.axvspan(-margin, margin, color=BAND, linewidth=0, zorder=0.5)
    ax.axvline(0, color=INK, linewidth=0.9, zorder=1)
    for place, (noise, one) in enumerate(found.items()):
        if one is None:
            words = "reference" if noise == rival else "not answered"
            at, across = (0.0, ax.transData) if noise == rival else (0.02, ax.get_yaxis_transform())
            ax.text(
                at,
                place,
                f" {words}",
                transform=across,
                va="center",
                size=8,
                color=GREY,
                style="italic",
            )
            continue
        colour = VERDICT_COLOURS.get(one.verdict, GREY)
        if abs(one.mean) > farthest:
            left = one.mean < 0
            arrow = f"◄ {_signed(one.mean)}" if left else f"{_signed(one.mean)} ►"
            across = ax.get_yaxis_transform()
            ax.text(0.02 if left else 0.98, place, arrow, transform=across, ha="left" if left else "right", va="center",
                    size=8, color=colour)  # fmt: skip
            continue
        ax.plot(
            one.seeds,
            np.full(len(one.seeds), place + 0.2),
            "o",
            color=SEED,
            alpha=0.25,
            markersize=3,
            mew=0,
        )
        ax.plot(
            [one.low, one.high],
            [place - 0.08] * 2,
            color=colour,
            linewidth=2,
            solid_capstyle="butt",
            zorder=3,
        )
        ax.plot([one.mean], [place - 0.08], "D", color=colour, markersize=4.5, zorder=4)
    _finish(ax)


def _draw_costs(ax: Axes, types: list[str], relative: Mapping[str, float]) -> None:
    known = {
        place: cost
        for place, noise in enumerate(types)
        if math.isfinite(cost := relative.get(noise, math.nan))
    }
    ax.barh(list(known), list(known.values()), height=0.5, color="#cbd2d9", zorder=2)
    for place, cost in known.items():
        ax.text(cost, place, f" {cost:.2f}", va="center", size=8)
    ax.axvline(1, color=INK, linewidth=0.9, zorder=3)
    ax.set_xlim(0, 1.45 * max([1.0, *known.values()]))
    ax.set_xlabel("time per epoch,\ndropout = 1")
    _finish(ax)


def _finish(ax: Axes) -> None:
    ax.grid(True, axis="y", color=STYLE["grid.color"], linewidth=0.6)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=4)


def _switched_off(table: pd.DataFrame, arms: Mapping[str, str]) -> set[str]:
    """The noise types whose tuned rates are all 0, of arm labels and their arms."""
    rates = table.drop_duplicates("arm").set_index("arm")[["rate1", "rate2"]].fillna(0).max(axis=1)
    types = {label.removeprefix(LABEL): arm for label, arm in arms.items()}
    return {noise for noise, arm in types.items() if noise != NONE and rates.get(arm, 1.0) == 0}


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _legend(question: Question) -> list[Line2D | Patch]:
    margins = dict.fromkeys(
        formatting.margin(contrast.margin, contrast.metric) for contrast in question.contrasts
    )
    means = [
        Line2D(
            [],
            [],
            marker="D",
            color=colour,
            markersize=4.5,
            linewidth=2,
            label=f"mean, 95 % interval: {verdict}",
        )
        for verdict, colour in {**VERDICT_COLOURS, "inconclusive": GREY}.items()
    ]
    seed = Line2D(
        [], [], marker="o", color=SEED, alpha=0.4, markersize=4, linestyle="none", label="one seed"
    )
    return [*means, seed, Patch(color=BAND, label=f"negligible ({', '.join(margins)})")]
