"""Exercise 7, continued: which ingredient of the project's own candidate brings what it gains?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis import formatting
from analysis.questions.base import (
    VALIDATION_MARGINS,
    Arm,
    Comparison,
    Design,
    Recipe,
    Tuned,
    tuned_label,
)
from analysis.questions.sentences import (
    AGAINST,
    brief,
    by_key,
    by_recipe,
    conclude,
    condition,
    not_answered,
)
from analysis.schema import AUDIT, Question
from analysis.stats.results import Answer, ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE, answer_contrasts

CANDIDATE = "shift+one-sided"
BARE, NOTHING = "constant factor alone", "no noise, same weight decay"
CONTROL = f"{BARE} - none"


@dataclass(frozen=True)
class Ingredient:
    """What can be taken out of the candidate.

    Attributes:
        label: of the arm that is left.
        noise: its noise type.
        effect: what the ingredient does, in words.
        rate: the candidate's rate that belongs to it.
    """

    label: str
    noise: str
    effect: str
    rate: str

    @property
    def key(self) -> str:
        """Name the contrast of the whole with what is left."""
        return f"whole - {self.label}"


INGREDIENTS = (
    Ingredient("without shifts", "one-sided", "shifting", "rate1"),
    Ingredient("without amplification", "shift", "amplifying", "rate2"),
    Ingredient("with a constant factor", "shift+gain", "doing so at random", "rate2"),
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
    shift, amplified = whole.rate1, whole.rate2
    rates = {
        "one-sided": (amplified, amplified),
        "shift": (shift, 0.0),
        "shift+gain": (shift, amplified),
    }
    labelled = {tuned_label(CANDIDATE): whole}
    for part in INGREDIENTS:
        labelled[part.label] = recipe.arm(part.noise, *rates[part.noise], whole.weight_decay)
    labelled[BARE] = recipe.arm("gain", amplified, amplified, whole.weight_decay)
    labelled[NOTHING] = recipe.arm("none", 0.0, 0.0, whole.weight_decay)
    return labelled


DESIGN = Design(
    name="ingredients",
    title="Which ingredient of our own candidate brings what it gains?",
    rule=(
        f"The tuned {CANDIDATE}, and the same rates and weight decay without shifts, without "
        "amplification, with the mean of the multiplier in place of the multiplier, with that "
        "factor alone, and with nothing; on validation images."
    ),
    recipes=("decay", "long"),
    comparisons=comparisons,
    arms=arms,
    metrics=VALIDATION_MARGINS,
    phase=AUDIT,
)

VALUES = "the candidate's tuned rates and weight decay"


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Say what is lost with each ingredient, on validation images."""
    answered = answer_contrasts(question, table, arms)
    deciding = by_recipe(answered.contrasts, accuracy=True)
    beside = by_recipe(answered.contrasts, accuracy=False)
    if not deciding:
        return not_answered(question, table, arms, answered, VALUES)
    out = dict.fromkeys(
        refused.contrast.recipe for refused in answered.refused if not refused.entered
    )
    notes = [
        f"the candidate did not go on to {name}: it was not among the best there" for name in out
    ]
    answered = replace(answered, notes=(*answered.notes, *notes))
    findings = []
    controls = []
    for recipe, contrasts in deciding.items():
        answers = by_key(contrasts)
        whole = _tuned_candidate(table, arms[recipe])
        findings.append(f"under {recipe}, {_effects(answers, whole)}")
        if CONTROL in answers:
            controls.append(f"{AGAINST[answers[CONTROL].verdict]} no noise under {recipe}")
    verdict = formatting.capital("; ".join(findings))
    bare = f" A constant factor without any noise is {' and '.join(controls)}." if controls else ""
    declared = tuple(contrast.contrast for contrast in answered.contrasts)
    entered = replace(question, contrasts=declared)  # what the claims hold for
    loss = _tell_all(beside)
    return conclude(
        question,
        table,
        arms,
        answered,
        verdict=verdict,
        sentence=f"On accuracy, {_tell_all(deciding)}" + (f"; on loss, {loss}." if loss else "."),
        takeaway=f"{verdict}.{bare} This holds {condition(entered, VALUES)}.",
        values=VALUES,
    )


def _tuned_candidate(table: pd.DataFrame, arms: Mapping[str, str]) -> pd.Series:
    """Return a run of the whole candidate; its rates are those of the arm."""
    return table.loc[table["arm"] == arms[tuned_label(CANDIDATE)]].iloc[0]


def _effects(answers: Mapping[str, ContrastAnswer], whole: pd.Series) -> str:
    """ "shifting helps, amplifying was tuned off"."""
    effects = []
    for part in INGREDIENTS:
        if part.key in answers:
            off = whole[part.rate] == 0
            does = "was tuned off" if off else _effect(answers[part.key])
            effects.append(f"{part.effect} {does}")
    return ", ".join(effects)


def _effect(contrast: ContrastAnswer) -> str:
    if contrast.verdict == "inconclusive":
        return "is undecided"
    if contrast.verdict in NEGLIGIBLE:
        return "makes no difference that matters"
    return "helps" if contrast.verdict.startswith("better") else "does harm"


def _tell_all(groups: Mapping[str, Sequence[ContrastAnswer]]) -> str:
    return "; ".join(
        f"under {recipe}, {', '.join(map(brief, contrasts))}"
        for recipe, contrasts in groups.items()
    )
