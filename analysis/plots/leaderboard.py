"""The leaderboard of noise types: each tuned arm's gain over its two rivals, best first.

Gains are turned so that positive is better: accuracy gained in points, loss saved in nats.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis import formatting
from analysis.formatting import NAMES, RecipeWords
from analysis.plots import style
from analysis.schema import IMAGE_TYPES, RATES, TUNED, Question, higher_is_better
from analysis.stats.paired import gain_interval
from analysis.stats.results import ContrastAnswer, Picture
from analysis.stats.verdicts import tone

Arms = Mapping[str, Mapping[str, str]]

DROPOUT, NONE = "dropout", "none"
ACCURACY, LOSS = "test/accuracy", "test/loss"
PANELS = (
    (ACCURACY, DROPOUT, "test accuracy gained\nover tuned dropout (pp)"),
    (ACCURACY, NONE, "test accuracy gained\nover tuned no noise (pp)"),
    (LOSS, DROPOUT, "test loss saved\nagainst tuned dropout (nats)"),
)
MIRRORED = {"better": "worse", "worse": "better"}
CAPTION = (
    "The tuned arm of every noise type with {recipe}, the best mean gain over tuned dropout "
    "first; both references are in bold. What knows images uses that the input is a picture, the "
    "other types would work on any input. Faint points are seeds, diamonds their means with 95 % "
    "paired-t intervals (not adjusted for multiplicity); the colour is the verdict, which is "
    "(Holm). Within the shaded margin a difference is negligible. An arrow stands for a gain off "
    "the scale. Right: training time per epoch and network, relative to dropout's, as the study's "
    "own populations took it; other work on the machine counts too."
)


@dataclass(frozen=True)
class Gain:
    """A noise type against a rival, in the shown unit, positive is better.

    Attributes:
        seeds: shape (seeds,).
        verdict: better, worse, equivalent or open.
    """

    seeds: np.ndarray
    mean: float
    low: float
    high: float
    verdict: str


Gains = Mapping[tuple[str, str, str, str], Gain]
"""(recipe, metric, noise type, rival) -> gain"""


def pictures(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    contrasts: Iterable[ContrastAnswer],
    recipes: RecipeWords = NAMES,
    image_types: Collection[str] = IMAGE_TYPES,
) -> list[Picture]:
    """Return a leaderboard for each recipe of the question, named by it.

    Args:
        question: as declared; its contrasts are differences of two tuned arms.
        table: run table.
        arms: recipe -> arm label -> arm name.
        contrasts: the answered ones among the declared.
        recipes: what each recipe is in words.
        image_types: the noise types that know that an input is an image.
    """
    gains = gains_of(contrasts)

    def picture(recipe: str) -> Picture:
        words = recipes[recipe]

        def drawn() -> Figure:
            return draw(question, table, arms, gains, recipe, words, image_types)

        return Picture(recipe, CAPTION.format(recipe=words), drawn)

    asked = dict.fromkeys(contrast.recipe for contrast in question.contrasts)
    return [picture(recipe) for recipe in asked]


def gains_of(contrasts: Iterable[ContrastAnswer]) -> dict[tuple[str, str, str, str], Gain]:
    """Return the gains; each difference of two arms is told from both sides."""
    gains = {}
    for answer in contrasts:
        contrast = answer.contrast
        factor = formatting.scale(contrast.metric)
        # By coefficient: a declaration from the store has its terms in alphabetical order.
        terms = sorted(contrast.terms, key=lambda term: -term[2])
        first, second = (label.removeprefix(TUNED) for label, _, _ in terms)
        sign = 1 if higher_is_better(contrast.metric) else -1
        seeds = sign * factor * answer.estimate.differences.to_numpy(dtype=float)
        low, high = (factor * end for end in gain_interval(answer))
        verdict = tone(answer.verdict)
        mirrored = MIRRORED.get(verdict, verdict)
        mean = float(seeds.mean())
        place = contrast.recipe, contrast.metric
        gains[*place, first, second] = Gain(seeds, mean, low, high, verdict)
        gains[*place, second, first] = Gain(-seeds, -mean, -high, -low, mirrored)
    return gains


def costs(question: Question, table: pd.DataFrame, arms: Mapping[str, str]) -> dict[str, float]:
    """Return noise type -> seconds per epoch and network of its tuned arm, over tuned dropout's."""
    rows = table.loc[(table["phase"] == question.phase) & table["seed"].isin(question.seeds)]
    seconds = (rows["seconds"] / rows["epochs"]).astype(float).groupby(rows["arm"]).mean()
    dropout = seconds.get(arms.get(TUNED + DROPOUT, ""), math.nan)
    return {
        label.removeprefix(TUNED): float(seconds.get(arm, math.nan) / dropout)
        for label, arm in arms.items()
        if label.startswith(TUNED)
    }


def draw(
    question: Question,
    table: pd.DataFrame,
    arms: Arms,
    gains: Gains,
    recipe: str,
    words: str = "",
    image_types: Collection[str] = IMAGE_TYPES,
) -> Figure:
    """Draw one recipe: a row for each noise type with a tuned arm, a panel for each of PANELS.

    Args:
        words: what the recipe is; by default its name.
        image_types: the noise types that know that an input is an image; they are marked.
    """
    of_recipe = arms.get(recipe, {})
    labels: dict[str, None] = {}
    for contrast in question.contrasts:
        if contrast.recipe == recipe:
            labels |= dict.fromkeys(label for label, _, _ in contrast.terms if label in of_recipe)
    means = gains_over(
        gains, (recipe, ACCURACY), DROPOUT, [label.removeprefix(TUNED) for label in labels]
    )
    types = sorted(means, key=lambda noise: (math.isnan(means[noise]), -means[noise]))
    off = _switched_off(table, {label: of_recipe[label] for label in labels})
    margins = {one.metric: one.margin * formatting.scale(one.metric) for one in question.contrasts}
    seeds = formatting.plural(len(question.seeds), "seed")
    title = f"Tuned noise types, best first: {words or recipe} ({seeds})"
    with style.drawing(2.2 + 0.33 * max(1, len(types)), title) as figure:
        axes = figure.subplots(
            1, len(PANELS) + 1, width_ratios=[*[1.0] * len(PANELS), 0.42], sharey=True
        )
        for ax, (metric, rival, label) in zip(axes, PANELS, strict=False):
            of_types = {noise: gains.get((recipe, metric, noise, rival)) for noise in types}
            _draw_gains(ax, of_types, rival, margins.get(metric, math.nan))
            ax.set_xlabel(label)
        _draw_costs(axes[-1], types, costs(question, table, of_recipe))
        names = []
        for noise in types:
            marks = ["knows images"] * (noise in image_types) + ["noise off"] * (noise in off)
            names.append(f"{noise} ({', '.join(marks)})" if marks else noise)
        style.set_lines(axes[0], names)
        for noise, tick in zip(types, axes[0].get_yticklabels(), strict=True):
            tick.set_fontweight("bold" if noise in (DROPOUT, NONE) else "normal")
        colours = {**style.VERDICT_COLOURS, "open": style.GREY}
        shown = {"equivalent": "negligible", "open": "inconclusive"}
        means_of = [
            (f"mean, 95 % interval: {shown.get(verdict, verdict)}", colour)
            for verdict, colour in colours.items()
        ]
        style.add_legend(figure, question, means_of)
    return figure


def gains_over(
    gains: Gains, place: tuple[str, str], rival: str, types: Iterable[str]
) -> dict[str, float]:
    """Return noise type -> mean gain over the rival: 0 for the rival, NaN if not answered.

    Args:
        place: recipe and metric.
    """
    means = {}
    for noise in types:
        gain = gains.get((*place, noise, rival))
        means[noise] = gain.mean if gain else math.nan
    return means | {noise: 0.0 for noise in means if noise == rival}


def _draw_gains(ax: Axes, gains: Mapping[str, Gain | None], rival: str, margin: float) -> None:
    lines: list[style.Difference | str] = []
    for noise, gain in gains.items():
        if gain is None:
            lines.append("reference" if noise == rival else "not answered")
        else:
            colour, ends = style.verdict_colour(gain.verdict), (gain.low, gain.high)
            lines.append(style.Difference(gain.mean, ends, gain.seeds, colour))
    style.draw_differences(ax, margin, lines, alpha=0.25)
    _finish(ax)


def _draw_costs(ax: Axes, types: Sequence[str], relative: Mapping[str, float]) -> None:
    known = {place: relative.get(noise, math.nan) for place, noise in enumerate(types)}
    known = {place: cost for place, cost in known.items() if math.isfinite(cost)}
    ax.barh(list(known), list(known.values()), height=0.5, color=style.FAINT, zorder=2)
    for place, cost in known.items():
        ax.text(cost, place, f" {cost:.2f}", va="center", size=8)
    ax.axvline(1, color=style.INK, linewidth=0.9, zorder=3)
    ax.set_xlim(0, 1.45 * max([1.0, *known.values()]))
    ax.set_xlabel("time per epoch,\ndropout = 1")
    _finish(ax)


def _finish(ax: Axes) -> None:
    ax.grid(True, axis="y", linewidth=0.6)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=4)


def _switched_off(table: pd.DataFrame, arms: Mapping[str, str]) -> set[str]:
    """Return the noise types whose tuned rates are all 0."""
    first = table.drop_duplicates("arm").set_index("arm")
    highest = first[list(RATES)].fillna(0).max(axis=1)
    off = {label.removeprefix(TUNED) for label, arm in arms.items() if highest.get(arm, 1.0) == 0}
    return off - {NONE}
