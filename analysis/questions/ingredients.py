"""Exercise 7, continued: what does each part of the best noise bring, alone and with the rest?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis import formatting
from analysis.questions.base import (
    RIVALS,
    VALIDATION_MARGINS,
    Arm,
    Comparison,
    Conclusion,
    Design,
    Evidence,
    Recipe,
    Tuned,
    Unanswered,
    of_class,
)
from analysis.questions.sentences import AGAINST, by_key, by_recipe, listed
from analysis.schema import AUDIT, BEST

CLASSES = {"any input": False, "images": True}
"""Class of noise -> True if its types know that an input is an image."""
CONSTANT = {"one-sided": "gain", "shift+one-sided": "shift+gain"}
"""Noise type that amplifies -> the same with the mean of its multiplier in place of it."""
FIRST, REST, DECAY, RANDOM = "first part", "rest", "weight decay", "randomness"
PARTS = {FIRST: ("rate1",), REST: ("rate2", "rate3"), DECAY: ("weight_decay",), RANDOM: ()}
"""What can be taken out of a noise type's tuned arm -> what is then 0."""


@dataclass(frozen=True)
class Labels:
    """The labels of the best arm of a class, and of what is left without its parts.

    Attributes:
        whole: the tuned arm.
        without: part -> the arm without it.
        nothing: no noise at the same weight decay.
    """

    whole: str
    without: Mapping[str, str]
    nothing: str

    @property
    def pairs(self) -> dict[str, tuple[str, str]]:
        """Contrast -> the two arms that it compares."""
        return {
            **{f"{part}, beside the rest": (self.whole, self.without[part]) for part in PARTS},
            f"{FIRST} alone": (self.without[REST], self.nothing),
            f"{REST} alone": (self.without[FIRST], self.nothing),
            "all of it": (self.whole, self.nothing),
        }


def labels_of(kind: str) -> Labels:
    """Return the labels of a class of noise."""
    best = f"{BEST}for {kind}"
    return Labels(best, {part: f"{best}, no {part}" for part in PARTS}, f"{best}, no noise")


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare the best arm of each class with itself without a part, and parts with nothing."""
    if set(noise_types) <= set(RIVALS):
        return []
    return [
        Comparison(f"{kind}: {key}", {better: 1.0, worse: -1.0}, kind)
        for kind in CLASSES
        for key, (better, worse) in labels_of(kind).pairs.items()
    ]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return the best tuned arm of each class on validation images, whole and in parts."""
    labelled: dict[str, Arm] = {}
    for kind, knows_images in CLASSES.items():
        for whole in of_class(tuned, knows_images)[:1]:
            labelled |= _taken_apart(labels_of(kind), whole)
    return labelled


def _taken_apart(labels: Labels, whole: Arm) -> dict[str, Arm]:
    """Return the arm, whole and without each part that it has."""
    taken = {
        labels.whole: whole,
        labels.nothing: whole.recipe.arm("none", 0.0, 0.0, whole.weight_decay),
    }
    for part, names in PARTS.items():
        left = replace(whole, **dict.fromkeys(names, 0.0))
        if part == RANDOM and any(whole.hidden_rates):
            left = replace(whole, noise=CONSTANT.get(whole.noise, whole.noise))
        if left != whole and any(left.rates):
            taken[labels.without[part]] = left
    return taken


DESIGN = Design(
    name="ingredients",
    title="Which ingredient of the best noise brings what it gains?",
    rule=(
        "Of each class of noise (for any input, for images) the type that is best on validation "
        "images: its tuned arm, and the same without its first rate, without its other rates, "
        "without weight decay, of a type that amplifies with the mean of the multiplier in its "
        "place, and with nothing but the weight decay; on validation images."
    ),
    recipes=("small", "long"),
    comparisons=comparisons,
    arms=arms,
    metrics=VALIDATION_MARGINS,
    phase=AUDIT,
    values="the tuned rates and weight decays",
)

EFFECTS = {
    "better, matters": "helps by more than the margin",
    "better": "helps",
    "worse, matters": "does harm by more than the margin",
    "worse": "does harm",
    "inconclusive": "is undecided",
}
"""Verdict on the whole against the rest -> words; else it makes no difference that matters."""


def part_names(noise: str) -> dict[str, str]:
    """Return what the parts of a noise type are called: what it is composed of, or its layers."""
    first, _, rest = noise.partition("+")
    if not rest:
        first, rest = "noise in the first layer", "noise in the second layer"
    return {FIRST: first, REST: rest, DECAY: "weight decay", RANDOM: "its randomness"}


def wholes(evidence: Evidence, recipe: str) -> Iterator[tuple[str, pd.Series]]:
    """Yield the classes that have a best arm under a recipe, with a row of its runs."""
    for kind in CLASSES:
        arm = evidence.arms.get(recipe, {}).get(labels_of(kind).whole)
        rows = evidence.table[evidence.table["arm"] == arm]
        if len(rows):
            yield kind, rows.iloc[0]


def answer(evidence: Evidence) -> Conclusion:
    """Tell what each part brings beside the rest, and alone, on validation images."""
    beside, alone = [], []
    for recipe, contrasts in by_recipe(evidence.on("accuracy")).items():
        answers = by_key(contrasts)
        for kind, whole in wholes(evidence, recipe):
            noise = str(whole["noise"])
            effects, against = [], []
            for part, name in part_names(noise).items():
                if with_rest := answers.get(f"{kind}: {part}, beside the rest"):
                    effect = EFFECTS.get(with_rest.verdict, "makes no difference that matters")
                    effects.append(f"{name} {effect}")
                elif _tuned_off(part, whole):
                    effects.append(f"{name} was tuned off")
                if by_itself := answers.get(f"{kind}: {part} alone"):
                    against.append(f"{name} {AGAINST[by_itself.verdict]} none")
            if together := answers.get(f"{kind}: all of it"):
                against.append(f"{noise} {AGAINST[together.verdict]} none")
            where = evidence.where(recipe, ", {}")
            beside.append(f"in {noise} (for {kind}{where}), {listed(effects)}")
            alone.append(f"{listed(against)}{evidence.where(recipe)}")
    if not alone:
        raise Unanswered
    return Conclusion(
        verdict=formatting.capital("; ".join(beside)),
        takeaway=f"Each alone, at the same weight decay: {'; '.join(alone)}",
    )


def _tuned_off(part: str, whole: pd.Series) -> bool:
    """Return True if the type has the part, and its search turned it off."""
    values = whole[list(PARTS[part])].astype(float).fillna(0.0)
    has = part == DECAY or (part != RANDOM and "+" in whole["noise"])
    return has and not values.any()
