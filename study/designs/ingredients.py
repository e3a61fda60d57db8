"""Exercise 7, continued: which ingredient of the project's own candidate brings what it gains?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from analysis.schema import AUDIT
from models.config import Arm, Recipe
from study.designs.base import Comparison, Design, Tuned
from study.designs.beat_dropout import label

CANDIDATE = "shift+one-sided"
WITHOUT = {
    "without shifts": "one-sided",
    "without amplification": "shift",
    "with a constant factor": "shift+gain",
}
"""What is taken out of the candidate -> the noise type that is left."""
BARE, NOTHING = "constant factor alone", "no noise, same weight decay"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """The candidate against itself with one ingredient gone; then what no noise and a larger step do alone."""
    if CANDIDATE not in noise_types:
        return []
    whole = label(CANDIDATE)
    parts = [Comparison(f"whole - {part}", {whole: 1.0, part: -1.0}) for part in WITHOUT]
    return [*parts, Comparison(f"{BARE} - none", {BARE: 1.0, NOTHING: -1.0}, "control")]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """The tuned candidate, and arms with its rates and its weight decay."""
    if CANDIDATE not in tuned:
        return {}
    whole = tuned[CANDIDATE]
    shift, amplified = whole.rate1, whole.rate2
    rates = {
        "one-sided": (amplified, amplified),
        "shift": (shift, 0.0),
        "shift+gain": (shift, amplified),
    }
    parts = {part: _with(whole, noise, *rates[noise]) for part, noise in WITHOUT.items()}
    controls = {
        BARE: _with(whole, "gain", amplified, amplified),
        NOTHING: _with(whole, "none", 0.0, 0.0),
    }
    return {label(CANDIDATE): whole, **parts, **controls}


def _with(arm: Arm, noise: str, rate1: float, rate2: float) -> Arm:
    return replace(arm, noise=noise, rate1=rate1, rate2=rate2)


DESIGN = Design(
    name="ingredients",
    title="Which ingredient of our own candidate brings what it gains?",
    exercise=7,
    rule=(
        f"The tuned {CANDIDATE}, and the same rates and weight decay without shifts, without amplification, with the "
        "mean of the multiplier in place of the multiplier, with that factor alone, and with nothing; on validation "
        "images."
    ),
    recipes=("decay", "long"),
    comparisons=comparisons,
    arms=arms,
    metrics={"val/accuracy": 0.002, "val/loss": 0.005},
    phase=AUDIT,
)
