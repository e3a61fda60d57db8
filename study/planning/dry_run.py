"""The runner, run dry: the trials of a study by stages, without training any."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.questions.base import Tuned
from models.config import Arm, Recipe
from models.noise import noise_type
from study.presets import Preset
from study.runner import run_study, search_trials
from study.search import asked_together
from study.trial import Trial


class DryRun:
    """A study that records its trials; arms that the search would find are stood in for."""

    def __init__(self, preset: Preset, noise_types: Sequence[str]) -> None:
        """Run nothing yet: `run_study` does."""
        self.preset = preset
        self.noise_types = tuple(noise_types)
        self.stages: list[list[Trial]] = []
        self._types: Sequence[str] = self.noise_types

    def search(self, recipe: Recipe, noise_types: Sequence[str]) -> None:
        """Record each round; the trials of a round are trained side by side."""
        self._types = noise_types
        for turns in asked_together(self.preset.trials_per_type):
            arms = [stand_in(noise, recipe, turn) for turn in turns for noise in noise_types]
            self.run(search_trials(self.preset, dict(enumerate(arms))))

    def run(self, trials: Sequence[Trial], winner: Arm | None = None) -> None:
        """Record a stage."""
        if trials:
            self.stages.append(list(trials))

    def best_searched(self, recipe: Recipe, noise_types: Sequence[str]) -> list[Arm]:
        """Return as many stand-ins of each noise type as arms are re-ranked."""
        count = min(self.preset.rerank_top, self.preset.trials_per_type)
        return [stand_in(noise, recipe, place) for noise in noise_types for place in range(count)]

    def tuned_arms(self, recipe: Recipe) -> Tuned:
        """Return a stand-in of each noise type."""
        return {noise: stand_in(noise, recipe, place) for place, noise in enumerate(self._types)}

    def best_of(self, arms: Sequence[Arm]) -> Arm | None:
        """Return None: nothing is known before a study."""
        return None

    def log_arms(self, names: dict[str, dict[str, str]]) -> None:
        """Log nothing."""


def planned_stages(preset: Preset, noise_types: Sequence[str]) -> list[list[Trial]]:
    """Return a study's trials by stages: what is trained before what comes next can be known."""
    study = DryRun(preset, noise_types)
    run_study(study)
    return study.stages


def planned_trials(preset: Preset, noise_types: Sequence[str]) -> list[Trial]:
    """Return as many trials as a study will run, of the right size."""
    return [trial for stage in planned_stages(preset, noise_types) for trial in stage]


def stand_in(noise: str, recipe: Recipe, count: int = 0) -> Arm:
    """Return an arm in place of one that the search will find; another for each count."""
    rates = [0.0, 0.0]
    for place, (value, rate) in enumerate(zip((0.2, 0.3), noise_type(noise).rates, strict=False)):
        rates[place] = min(value, rate.high)
    return recipe.arm(noise, rates[0], rates[1], weight_decay=1e-6 * (1 + count))
