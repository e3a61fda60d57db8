"""Exercise 7, continued: which ingredient of the project's own candidate brings what it gains?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    tuned_label,
)
from analysis.questions.sentences import AGAINST, by_key, by_recipe, listed
from analysis.schema import AUDIT

CANDIDATE = "shift+one-sided"
BARE, NOTHING = "constant factor alone", "no noise, same weight decay"
CONTROL = f"{BARE} - none"
SHIFT, AMPLIFIED = ("rate1",), ("rate2", "rate3")
"""The candidate's rates of the input, and of the two hidden layers."""


@dataclass(frozen=True)
class Ingredient:
    """What can be taken out of the candidate.

    Attributes:
        label: of the arm that is left.
        noise: its noise type.
        effect: what the ingredient does, in words.
        rates: the candidate's rates that belong to it.
    """

    label: str
    noise: str
    effect: str
    rates: tuple[str, ...]

    @property
    def key(self) -> str:
        """Name the contrast of the whole with what is left."""
        return f"whole - {self.label}"


INGREDIENTS = (
    Ingredient("without shifts", "one-sided", "shifting", SHIFT),
    Ingredient("without amplification", "shift", "amplifying", AMPLIFIED),
    Ingredient("with a constant factor", "shift+gain", "doing so at random", AMPLIFIED),
)


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare the candidate with itself without an ingredient, and a larger step with no noise."""
    if CANDIDATE not in noise_types:
        return []
    whole = tuned_label(CANDIDATE)
    parts = [Comparison(part.key, {whole: 1.0, part.label: -1.0}) for part in INGREDIENTS]
    return [*parts, Comparison(CONTROL, {BARE: 1.0, NOTHING: -1.0}, "control")]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return the tuned candidate, and arms with its rates and its weight decay."""
    if CANDIDATE not in tuned:
        return {}
    whole = tuned[CANDIDATE]
    shift, first, second, decay = whole.rate1, whole.rate2, whole.rate3, whole.weight_decay
    left = {
        "one-sided": recipe.arm("one-sided", first, second, decay),
        "shift": recipe.arm("shift", shift, 0.0, decay),
        "shift+gain": recipe.arm("shift+gain", shift, first, decay, second),
    }
    labelled = {tuned_label(CANDIDATE): whole}
    labelled |= {part.label: left[part.noise] for part in INGREDIENTS}
    labelled[BARE] = recipe.arm("gain", first, second, decay)
    labelled[NOTHING] = recipe.arm("none", 0.0, 0.0, decay)
    return labelled


DESIGN = Design(
    name="ingredients",
    title="Which ingredient of our own candidate brings what it gains?",
    rule=(
        f"The tuned {CANDIDATE}, and the same rates and weight decay without shifts, without "
        "amplification, with the mean of the multiplier in place of the multiplier, with that "
        "factor alone, and with nothing; on validation images."
    ),
    recipes=("small", "long"),
    comparisons=comparisons,
    arms=arms,
    metrics=VALIDATION_MARGINS,
    phase=AUDIT,
    values="the candidate's tuned rates and weight decay",
)

EFFECTS = {
    "better, matters": "helps",
    "better": "helps",
    "worse, matters": "does harm",
    "worse": "does harm",
    "inconclusive": "is undecided",
}
"""Verdict on the whole against the rest -> words; else it makes no difference that matters."""


def answer(evidence: Evidence) -> Conclusion:
    """Tell what is lost with each ingredient, on validation images."""
    findings = []
    controls = []
    for recipe, contrasts in by_recipe(evidence.on("accuracy")).items():
        answers = by_key(contrasts)
        arm = evidence.arms[recipe][tuned_label(CANDIDATE)]
        whole = evidence.table[evidence.table["arm"] == arm].iloc[0]
        effects = []
        for part in INGREDIENTS:
            if part.key in answers:
                effect = EFFECTS.get(answers[part.key].verdict, "makes no difference that matters")
                acts = whole[list(part.rates)].gt(0).any()  # older stores lack rate3
                effects.append(f"{part.effect} {effect if acts else 'was tuned off'}")
        findings.append(f"{evidence.where(recipe, 'with {}, ')}{', '.join(effects)}")
        if CONTROL in answers:
            against = AGAINST[answers[CONTROL].verdict]
            controls.append(f"{against} no noise{evidence.where(recipe, ' with {}')}")
    if not findings:
        raise Unanswered
    out = [refused for refused in evidence.answered.refused if not refused.entered]
    return Conclusion(
        verdict=formatting.capital("; ".join(findings)),
        takeaway=f"A constant factor without any noise is {listed(controls)}",
        notes=[
            f"the candidate was not trained with {evidence.recipes[recipe]}: it was not among the "
            "best, which go on"
            for recipe in dict.fromkeys(refused.contrast.recipe for refused in out)
        ],
    )
