"""Exercise 7: does any other noise beat dropout?"""

from __future__ import annotations

from collections.abc import Sequence

from models.config import Arm, Recipe
from study.designs.base import Comparison, Design, Tuned


def label(noise: str) -> str:
    """The label of a noise type's tuned arm."""
    return f"tuned {noise}"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Every candidate against tuned dropout and against tuned training without noise; dropout itself for reference."""
    against = [
        Comparison(
            f"{noise} - {rival}",
            {label(noise): 1.0, label(rival): -1.0},
            family="candidates",
            candidate=noise,
        )
        for noise in noise_types
        if noise not in ("none", "dropout")
        for rival in ("dropout", "none")
    ]
    reference = Comparison(
        "dropout - none", {label("dropout"): 1.0, label("none"): -1.0}, family="reference"
    )
    return [reference, *against]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """The winner of each noise type's search."""
    return {label(noise): arm for noise, arm in tuned.items()}


DESIGN = Design(
    name="beat-dropout",
    title="Does any noise beat dropout?",
    exercise=7,
    rule=(
        "Each noise type's tuned arm: equal numbers of search trials, the best re-ranked on new seeds, the winner by "
        "mean validation accuracy there. A candidate must beat tuned dropout and tuned training without noise, under "
        "every recipe."
    ),
    family_per_recipe=False,
    recipes=("decay", "long"),
    comparisons=comparisons,
    arms=arms,
    names_winner=True,
)
