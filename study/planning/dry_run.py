"""The runner, run dry: the trials of a study by stages, without training any."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.questions.base import DROPOUT_ALONE, Tuned
from models.config import Arm, Recipe
from models.noise import noise_type
from study.presets import Preset
from study.runner import run_study, search_trials
from study.trial import Trial


class DryRun:
    """A study that records its trials; arms that the search would find are stood in for."""

    def __init__(self, preset: Preset, noise_types: Sequence[str]) -> None:
        """Run nothing yet: `run_study` does."""
        self.preset = preset
        self.noise_types = tuple(noise_types)
        self.stages: list[list[Trial]] = []
        self._searched: dict[Recipe, list[str]] = {}

    def search(self, recipe: Recipe, labels: Sequence[str]) -> None:
        """Record the searches; their trials are trained side by side."""
        count = self.preset.trials_per_type
        searched = self._searched.setdefault(recipe, [])
        asked: list[Trial] = []
        for label in labels:
            arms = [stand_in(label, recipe, place) for place in range(count)]
            asked += search_trials(self.preset, label, arms, len(searched) * count)
            searched.append(label)
        self.run(asked)

    def run(self, trials: Sequence[Trial], winner: Arm | None = None) -> None:
        """Record a stage."""
        if trials:
            self.stages.append(list(trials))

    def shortlist(self, recipe: Recipe, labels: Sequence[str]) -> list[Arm]:
        """Return as many stand-ins of each search as arms are re-ranked."""
        count = min(self.preset.rerank_top, self.preset.trials_per_type)
        return [stand_in(label, recipe, place) for label in labels for place in range(count)]

    def tuned_arms(self, recipe: Recipe) -> Tuned:
        """Return a stand-in of each search, first those with most parts to take apart."""
        searched = self._searched[recipe]
        arms = {label: stand_in(label, recipe, place) for place, label in enumerate(searched)}
        return dict(sorted(arms.items(), key=lambda tuned: -len(tuned[1].rates)))

    def tried(self, recipe: Recipe) -> Tuned:
        """Return the stand-ins: no search is lost."""
        return self.tuned_arms(recipe)

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


def stand_in(label: str, recipe: Recipe, count: int = 0) -> Arm:
    """Return an arm in place of one that the search will find; another for each label and count."""
    if label == DROPOUT_ALONE:
        return recipe.arm("dropout", 0.2, round(0.25 + 0.001 * count, 3), weight_decay=0.0)
    rates = []
    for value, rate in zip((0.2, 0.3, 0.4), noise_type(label).rates, strict=False):
        rates.append(min(value, rate.high))
    return Arm.of(label, rates, 1e-6 * (1 + count), recipe)
