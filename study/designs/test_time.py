"""Exercise 4: why is dropout not used at test time?"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.schema import term
from models.config import Arm, Recipe
from models.probes.mc_dropout import PASSES
from study.designs.base import MARGINS, Comparison, Design, Tuned
from study.designs.beat_dropout import label

ARM = label("dropout")
PROBABILITIES = {"test/loss": MARGINS["test/loss"], "test/brier": 0.002, "test/ece": 0.005}


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """One noisy pass, and the mean of many, against the deterministic pass; each also with a fitted temperature."""
    many = PASSES[-1]

    def minus(name: str, first: str, second: str, metrics: tuple[str, ...] = ()) -> Comparison:
        terms = {term(ARM, f"{{metric}}{first}"): 1.0, term(ARM, f"{{metric}}{second}"): -1.0}
        return Comparison(name, terms, metrics=metrics)

    fitted = tuple(PROBABILITIES)  # a temperature leaves every accuracy as it is
    return [
        minus("one noisy pass - deterministic", "_mc1", ""),
        minus(f"mean of {many} passes - deterministic", f"_mc{many}", ""),
        minus(f"mean of {many} passes - one noisy pass", f"_mc{many}", "_mc1"),
        minus("deterministic: tempered - as it is", "_tempered", "", fitted),
        minus(
            f"both tempered: mean of {many} - deterministic",
            f"_mc{many}_tempered",
            "_tempered",
            fitted,
        ),
    ]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Tuned dropout."""
    return {ARM: tuned["dropout"]}


DESIGN = Design(
    name="test-time",
    title="Why is dropout not used at test time?",
    exercise=4,
    rule=(
        "The networks of the tuned dropout arm, evaluated without noise, with one random mask, and by the mean "
        f"probabilities of up to {PASSES[-1]} masks; each also with the temperature that fits the validation images."
    ),
    comparisons=comparisons,
    arms=arms,
    metrics={"test/accuracy": MARGINS["test/accuracy"]} | PROBABILITIES,
    measures={ARM: ("test-time",)},
)
