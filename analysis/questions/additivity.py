"""Exercise 5: are the gains of dropout and weight decay additive?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from analysis import formatting
from analysis.questions.base import (
    DROPOUT_ALONE,
    MARGINS,
    Arm,
    Comparison,
    Conclusion,
    Design,
    Evidence,
    Recipe,
    Tuned,
    Unanswered,
)
from analysis.questions.sentences import AGAINST, by_key, by_recipe
from analysis.schema import base_metric
from analysis.stats.contrasts import coincide
from analysis.stats.paired import gain, gain_interval
from analysis.stats.verdicts import NEGLIGIBLE, significant_direction

GRID_RATES = (0.0, 0.1, 0.2, 0.3, 0.5)
GRID_WEIGHT_DECAYS = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
GRID_EXAMPLES = 5_000
SINGLES = ("dropout", "weight decay")
COMPARISONS = {
    "dropout - none": {"dropout": 1.0, "none": -1.0},
    "weight decay - none": {"weight decay": 1.0, "none": -1.0},
    "both - none": {"both": 1.0, "none": -1.0},
    "both - dropout": {"both": 1.0, "dropout": -1.0},
    "both - weight decay": {"both": 1.0, "weight decay": -1.0},
    "interaction": {"both": 1.0, "dropout": -1.0, "weight decay": -1.0, "none": 1.0},
}
"""The three gains over no regularisation, the pair against each single, and the interaction."""


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Return COMPARISONS."""
    return [Comparison(key, coefficients) for key, coefficients in COMPARISONS.items()]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return the 2 x 2, each of the three regularised arms tuned as such; without dropout alone
    where every trial of it diverged."""
    square = {
        "none": tuned["none"].with_weight_decay(0.0),
        "dropout": tuned.get(DROPOUT_ALONE),
        "weight decay": tuned["none"],
        "both": tuned["dropout"],
    }
    return {label: arm for label, arm in square.items() if arm}


def explore(recipe: Recipe, tuned: Tuned) -> list[Arm]:
    """Return a grid of rates and weight decays, under a recipe of little cost alone."""
    if recipe.train_examples > GRID_EXAMPLES:
        return []
    return [
        recipe.arm("dropout", rate, rate, weight_decay)
        for rate in GRID_RATES
        for weight_decay in GRID_WEIGHT_DECAYS
    ]


DESIGN = Design(
    name="additivity",
    title="Are the gains of dropout and weight decay additive?",
    rule=(
        "Dropout without weight decay, weight decay without noise, and both together, each tuned "
        "as such on as many trials as the others; and no regularisation, which is rate 0 and "
        "weight decay 0."
    ),
    tunes_alone=True,
    recipes=("small", "long"),
    comparisons=comparisons,
    arms=arms,
    metrics=MARGINS | {"test/logit_error": 0.02},  # 0.2 points of accuracy at 88 %
    explore=explore,
    values="this scale of measurement, the tuned rates and weight decay",
)

TOLERANCE = 0.25
"""So far an interaction may be from 0 and still count as none, of the smaller single gain."""

MEANING = {
    "antagonistic": "together they do worse than neither",
    "cancelling": "together nothing is left of either gain",
    "redundant": "together they gain no more than the better one alone",
    "additive": "together they gain the sum",
    "synergistic": "together they gain more than the sum",
    "diminishing": "together they gain less than the sum, but more than either alone",
}


def classify(
    verdicts: Mapping[str, str], gains: Mapping[str, float], interaction: tuple[float, float]
) -> tuple[str, str]:
    """Return the first class whose rule holds, and what it means or why it is undetermined.

    A single gain counts when it is significant and not negligible: else everything is equivalent
    to everything. Equivalence to nothing or to the better single is TOST's, whether or not the
    difference is significant.

    Args:
        verdicts: key of COMPARISONS -> verdict.
        gains: "dropout", "weight decay" -> mean gain over no regularisation, positive is better.
        interaction: 90 % interval, positive is synergy, in the unit of the gains.
    """
    alone = {single: verdicts[f"{single} - none"] for single in SINGLES}
    if not all(verdict in ("better", "better, matters") for verdict in alone.values()):
        told = [f"{single} alone is {AGAINST[verdict]} none" for single, verdict in alone.items()]
        return "undetermined", " and ".join(told)
    stronger = max(SINGLES, key=lambda single: gains[single])
    over_stronger = verdicts[f"both - {stronger}"]
    bound = TOLERANCE * min(gains[single] for single in SINGLES)
    rules = {
        "antagonistic": significant_direction(verdicts["both - none"]) == "worse",
        "cancelling": verdicts["both - none"] in NEGLIGIBLE,
        "redundant": over_stronger in NEGLIGIBLE,
        "additive": -bound <= interaction[0] and interaction[1] <= bound,
        "synergistic": significant_direction(verdicts["interaction"]) == "better",
        "diminishing": significant_direction(verdicts["interaction"]) == "worse"
        and significant_direction(over_stronger) == "better",
    }
    for name, holds in rules.items():
        if holds:
            return name, MEANING[name]
    return "undetermined", "both help alone, but what they gain together is too uncertain"


def answer(evidence: Evidence) -> Conclusion:
    """Classify the joint gain under each recipe, `long` first: there regularisation binds."""
    classes = {scale: _classes(evidence, scale) for scale in ("accuracy", "loss", "logit_error")}
    deciding = classes.pop("accuracy")
    if not deciding:
        raise Unanswered
    first = next(iter(deciding))
    parts = [f"{evidence.where(first, 'with {}, ')}{deciding[first][1]}"]
    for scale, of_scale in classes.items():
        if of_scale:
            parts.append(f"on {scale.replace('_', ' ')}: {_names(of_scale, evidence)}")
    return Conclusion(
        verdict=formatting.capital(_names(deciding, evidence)),
        takeaway=formatting.capital("; ".join(parts)),
    )


def _classes(evidence: Evidence, scale: str) -> dict[str, tuple[str, str]]:
    """Return recipe -> class and meaning, where all six contrasts were answered.

    Two labels may have been tuned to one arm, as where the best weight decay is 0: they differ by
    exactly 0, and no run has to show it.
    """
    classes = {}
    groups = by_recipe(evidence.on(scale))
    for recipe in sorted(groups, key=lambda recipe: recipe != "long"):  # stable: else as declared
        same = {
            contrast.key
            for contrast in evidence.question.contrasts
            if (contrast.recipe, base_metric(contrast.metric)) == (recipe, scale)
            and coincide(evidence.arms.get(recipe, {}), contrast)
        }
        contrasts = by_key(groups[recipe])
        if contrasts.keys() | same >= COMPARISONS.keys():
            verdicts = {key: contrast.verdict for key, contrast in contrasts.items()}
            gains = {key: gain(contrast) for key, contrast in contrasts.items()}
            interval = (0.0, 0.0)
            if "interaction" in contrasts:
                interval = gain_interval(contrasts["interaction"], level=0.9)
            verdicts |= dict.fromkeys(same, "equivalent")
            alone = {single: gains.get(f"{single} - none", 0.0) for single in SINGLES}
            classes[recipe] = classify(verdicts, alone, interval)
    return classes


def _names(classes: Mapping[str, tuple[str, str]], evidence: Evidence) -> str:
    """Return "additive (50,000 images, 80 epochs), undetermined (5,000 images, 100 epochs)"."""
    return ", ".join(f"{name}{evidence.where(recipe)}" for recipe, (name, _) in classes.items())
