"""What did a published set of solutions to the exercises really measure?"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.schema import AUDIT, term
from models.config import Arm, Recipe
from study.designs.base import Comparison, Design, Tuned
from study.designs.epochs import HALF, RATE

WEIGHT_DECAY = 0.5
DROPCONNECT = f"dropconnect({RATE:g},{RATE:g})"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """What was run, less what was meant."""
    pairs = {
        "randn mask - dropout": ("randn mask", HALF),
        "raw pixels - pixels from 0 to 1": (term(HALF, "{metric}_raw"), HALF),
        "weight decay 0.5 - none": ("weight decay 0.5", "none"),
        "dropout with weight decay 0.5 - dropout": ("dropout, weight decay 0.5", HALF),
        "randn DropConnect - DropConnect": ("randn DropConnect", DROPCONNECT),
        "unscaled stochastic ReLU - dropout": ("stochastic ReLU", HALF),
    }
    found = [
        Comparison(name, {ran: 1.0, meant: -1.0}, "faults") for name, (ran, meant) in pairs.items()
    ]
    return [*found, Comparison("dropout - none", {HALF: 1.0, "none": -1.0}, "reference")]


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """The solutions' settings, and the same as they were meant."""

    def arm(noise: str, rate: float = RATE, weight_decay: float = 0.0) -> Arm:
        return Arm(noise, rate, rate, weight_decay, recipe)

    return {
        "none": arm("none", 0.0),
        HALF: arm("dropout"),
        DROPCONNECT: arm("dropconnect"),
        "randn mask": arm("audited-randn-dropout"),
        "randn DropConnect": arm("audited-randn-dropconnect"),
        "stochastic ReLU": arm("audited-kept-relu"),
        "weight decay 0.5": arm("none", 0.0, WEIGHT_DECAY),
        "dropout, weight decay 0.5": arm("dropout", weight_decay=WEIGHT_DECAY),
    }


DESIGN = Design(
    name="audit",
    title="What did a published set of solutions measure?",
    exercise=8,
    rule=(
        "The settings of the solutions (rate 0.5 in both layers, learning rate 0.1, 10 epochs) with each fault of "
        "theirs alone, and without; on validation images only."
    ),
    recipes=("book",),
    comparisons=comparisons,
    arms=arms,
    metrics={"val/accuracy": 0.002, "val/loss": 0.005},
    measures={HALF: ("raw-pixels",)},
    phase=AUDIT,
)
