"""Exercise 7, continued: what does each part of the best noise bring, alone and with the rest?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis import formatting
from analysis.questions.base import (
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
from analysis.schema import AUDIT, BEST, RATES
from analysis.stats.results import Table

CLASSES = {"any input": False, "images": True}
"""Class of noise -> True if its types know that an input is an image."""
CONSTANT = {"one-sided": "gain", "shift+one-sided": "shift+gain"}
"""Noise type that amplifies -> the same with the mean of its multiplier in place of it."""
FIRST, OTHERS, DECAY, RANDOM = "first part", "other parts", "weight decay", "randomness"
PARTS = {FIRST: ("rate1",), OTHERS: ("rate2", "rate3"), DECAY: ("weight_decay",), RANDOM: ()}
"""What can be taken out of a noise type's tuned arm -> what is then 0."""


@dataclass(frozen=True)
class Labels:
    """The labels of the best arm of a class, and of what is left without its parts.

    Attributes:
        whole: the tuned arm.
        without: part -> the arm without it.
        constant: the mean of an amplifying type's multiplier, and nothing else.
        nothing: no noise; all of them at the same weight decay.
    """

    whole: str
    without: Mapping[str, str]
    constant: str
    nothing: str

    @property
    def beside(self) -> dict[str, tuple[str, str]]:
        """Part -> the arms that differ in it beside the rest."""
        return {part: (self.whole, self.without[part]) for part in PARTS}

    @property
    def alone(self) -> dict[str, tuple[str, str]]:
        """Part -> the arms that differ in it alone."""
        return {
            FIRST: (self.without[OTHERS], self.nothing),
            OTHERS: (self.without[FIRST], self.nothing),
            "constant factor": (self.constant, self.nothing),
            "whole": (self.whole, self.nothing),
        }


def labels_of(kind: str) -> Labels:
    """Return the labels of a class of noise."""
    best = f"{BEST}for {kind}"
    without = {part: f"{best}, no {part}" for part in PARTS}
    return Labels(best, without, f"{best}, constant factor", f"{best}, no noise")


def keys_of(kind: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return part -> key of its contrast, beside the rest and alone."""
    labels = labels_of(kind)
    beside = {part: f"whole - without {part} ({kind})" for part in labels.beside}
    return beside, {part: f"{part} - none ({kind})" for part in labels.alone}


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare the best arm of each class with itself without a part, and parts with nothing."""
    declared = []
    for kind, of_images in CLASSES.items():
        labels = labels_of(kind)
        for keys, pairs in zip(keys_of(kind), (labels.beside, labels.alone), strict=True):
            for part, (better, worse) in pairs.items():
                coefficients = {better: 1.0, worse: -1.0}
                declared.append(Comparison(keys[part], coefficients, kind, of_images=of_images))
    return declared


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return the best tuned arm of each class on validation images, whole and in parts."""
    labelled: dict[str, Arm] = {}
    for kind, knows_images in CLASSES.items():
        for whole in of_class(tuned, knows_images)[:1]:
            labelled |= _taken_apart(labels_of(kind), whole)
    return labelled


def _taken_apart(labels: Labels, whole: Arm) -> dict[str, Arm]:
    """Return the arm, whole and without each part that it has."""
    recipe, decay = whole.recipe, whole.weight_decay
    taken = {labels.whole: whole, labels.nothing: recipe.arm("none", 0.0, 0.0, decay)}
    for part, names in PARTS.items():
        left = replace(whole, **dict.fromkeys(names, 0.0))
        if part == RANDOM and whole.noise in CONSTANT and any(whole.hidden_rates):
            left = replace(whole, noise=CONSTANT[whole.noise])
            taken[labels.constant] = recipe.arm("gain", *whole.hidden_rates, decay)
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
        "place, that factor alone, and nothing but the weight decay; on validation images."
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


def part_names(whole: Mapping[str, object]) -> dict[str, str]:
    """Return what the parts of an arm are called: what its noise type is composed of, or the layers
    that it acts in.

    Args:
        whole: a row of the run table.
    """
    noise = str(whole["noise"])
    first, _, others = noise.partition("+")
    if not others:
        first, others = "noise in the first layer", "noise in the second layer"
        if not pd.isna(whole["rate3"]):
            first, others = "noise before the hidden layers", "noise in the hidden layers"
    parts = dict(zip(PARTS, (first, others, "weight decay", "its randomness"), strict=True))
    return {**parts, "constant factor": "a constant factor", "whole": noise}


def wholes(evidence: Evidence, recipe: str) -> Iterator[tuple[str, pd.Series]]:
    """Yield the classes whose best arm was trained under a recipe, with a row of its runs."""
    runs = evidence.runs(recipe)
    for kind in CLASSES:
        if (label := labels_of(kind).whole) in runs:
            yield kind, runs[label].iloc[0]


def answer(evidence: Evidence) -> Conclusion:
    """Tell what each part brings beside the rest, and alone, on validation images."""
    if not any(label.startswith(BEST) for label in _labels(evidence)):
        raise Unanswered("an earlier version asked it of one type: the commit that ran it answers")
    beside, alone, rows = [], [], []
    for recipe, contrasts in by_recipe(evidence.on("accuracy")).items():
        answers = by_key(contrasts)
        for kind, whole in wholes(evidence, recipe):
            names, noise = part_names(whole), str(whole["noise"])
            keys_beside, keys_alone = keys_of(kind)
            effects = []
            for part, key in keys_beside.items():
                if key in answers:
                    verdict = answers[key].verdict
                    effect = EFFECTS.get(verdict, "makes no difference that matters")
                    effects.append(f"{names[part]} {effect}")
                elif _refused(evidence, recipe, key):
                    effects.append(f"{names[part]} was not tested")
                elif _tuned_off(part, whole):
                    effects.append(f"{names[part]} was tuned off")
            if effects:
                where = evidence.where(recipe, ", {}")
                beside.append(f"in {noise} (for {kind}{where}), {listed(effects)}")
            against: dict[str, list[str]] = {}  # verdict -> what it is told of
            for part, key in keys_alone.items():
                if key in answers:
                    verdict = AGAINST[answers[key].verdict]
                    against.setdefault(verdict, []).append(names[part])
            for verdict, told in against.items():
                alone.append(f"{verdict} none{evidence.where(recipe)}: {listed(told)}")
            arm = formatting.arms_in_words(str(whole["arm"]), evidence.recipes)
            rows.append((f"for {kind}", evidence.recipes[recipe], arm))
    if not (beside or alone):
        raise Unanswered
    return Conclusion(
        verdict=formatting.capital("; ".join(beside) or "nothing could be taken out"),
        takeaway=f"At the same weight decay, {'; '.join(alone) or 'nothing was tested alone'}",
        tables=(Table("What was taken apart", ("best noise", "recipe", "tuned arm"), tuple(rows)),),
    )


def _labels(evidence: Evidence) -> Iterator[str]:
    for contrast in evidence.question.contrasts:
        yield from (label for label, _, _ in contrast.terms)


def _refused(evidence: Evidence, recipe: str, key: str) -> bool:
    """Return True if a contrast was to be answered, and could not be."""
    return any(
        refused.entered and (refused.contrast.recipe, refused.contrast.key) == (recipe, key)
        for refused in evidence.answered.refused
    )


def _tuned_off(part: str, whole: pd.Series) -> bool:
    """Return True if the search turned off weight decay, or a part of a composition."""
    if part == RANDOM or not whole[list(RATES)].astype(float).fillna(0.0).any():
        return False
    composed = part == DECAY or "+" in str(whole["noise"])
    return composed and not whole[list(PARTS[part])].astype(float).fillna(0.0).any()
