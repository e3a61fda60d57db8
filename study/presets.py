"""How much of the study to run."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.config import Recipe
from study.recipes import DECAY, LONG, SHORT


@dataclass(frozen=True)
class Preset:
    """The size of a study. Each phase has seeds of its own, so no score selects and judges at once.

    Attributes:
        trials_per_type: Optuna trials of each noise type, the same for all.
        rerank_top: the best so many of each type are trained again on `rerank_seeds`.
        train_examples: training images used, at most 50,000; fewer make a demonstration, not a study.
    """

    name: str
    recipes: tuple[Recipe, ...]
    trials_per_type: int
    search_seeds: tuple[int, ...]
    rerank_top: int
    rerank_seeds: tuple[int, ...]
    confirm_seeds: tuple[int, ...]
    train_examples: int = 50_000


def seeds(first: int, count: int) -> tuple[int, ...]:
    """`count` consecutive seeds."""
    return tuple(range(first, first + count))


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "smoke",
            recipes=(replace(SHORT, epochs=1),),
            trials_per_type=2,
            search_seeds=seeds(0, 2),
            rerank_top=1,
            rerank_seeds=seeds(100, 1),
            confirm_seeds=seeds(1000, 3),
            train_examples=1_000,
        ),
        Preset(
            "quick",
            recipes=(SHORT,),
            trials_per_type=5,
            search_seeds=seeds(0, 3),
            rerank_top=2,
            rerank_seeds=seeds(100, 3),
            confirm_seeds=seeds(1000, 10),
        ),
        Preset(
            "full",
            recipes=(DECAY, LONG),
            trials_per_type=12,
            search_seeds=seeds(0, 3),
            rerank_top=3,
            rerank_seeds=seeds(100, 5),
            confirm_seeds=seeds(1000, 20),
        ),
    )
}
