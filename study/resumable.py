"""A study under way: what is finished stays finished, the rest is trained and logged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Protocol

import pandas as pd

from analysis import schema
from analysis.formatting import one_line, shortened
from analysis.questions.base import Tuned
from analysis.report import writer
from analysis.schema import Declaration
from analysis.stats import selection
from analysis.store import reader
from analysis.store.search_trials import search_trials as search_trials_of
from models.config import Arm, Recipe
from study import search, signals
from study.executors import TrialExecutor
from study.presets import Preset
from study.runner import REFERENCES, search_trials
from study.signals import KEPT
from study.tracking.retry import CutShort, patient
from study.tracking.writer import Tracker
from study.trial import Trial, batches


class NothingToCompare(RuntimeError):
    """A study that cannot go on, since what all is measured against failed."""


class Progress(Protocol):
    """What a study tells of itself while it runs; see `study.commands.progress`."""

    def begin(self, trials: Sequence[Trial]) -> None:
        """Announce the next trials."""

    def finish(self, trial: Trial, score: float, seconds: float | None = None) -> None:
        """Tell a finished trial; its seconds are None if it was finished before."""

    def tell(self, line: str) -> None:
        """Tell a line beside the count."""


class ResumableStudy:
    """The study that `run_study` runs: declaration, tracker, executor and the finished scores."""

    def __init__(
        self,
        preset: Preset,
        declaration: Declaration,
        tracker: Tracker,
        executor: TrialExecutor,
        progress: Progress,
    ) -> None:
        """Read the finished trials of the same study from the store."""
        self.preset = preset
        self.declaration = declaration
        self.tracker = tracker
        self.noise_types = declaration.noise_types
        self.failed: list[Trial] = []
        self.winner: Arm | None = None
        self._executor = executor
        self._progress = progress
        adopted = self.read()
        self._adopted = adopted.table
        # By the same mean as in `run`: that of pandas may differ in the last bit, and TPE sees it.
        by_trial = self._adopted.groupby("trial_hash")[declaration.objective]
        self._scores = {str(trial_hash): fmean(scores) for trial_hash, scores in by_trial}
        for trial_hash in adopted.diverged:  # it would diverge again
            self._scores.setdefault(trial_hash, math.nan)

    def run(self, trials: Sequence[Trial], winner: Arm | None = None) -> None:
        """Train and log the trials that are not finished; of the winner, also log a model."""
        self.winner = winner or self.winner
        missing = {
            self._hash(trial): trial for trial in trials if self._hash(trial) not in self._scores
        }
        self._progress.begin(trials)
        for trial in trials:
            if self._hash(trial) not in missing:
                self._progress.finish(trial, self.objective(trial))
                if math.isnan(self.objective(trial)):
                    self.failed.append(trial)
        setting = self.tracker.setting
        grouped = batches(missing.values(), self._executor.population(setting))
        for batch, results in self._executor.train(grouped, setting, winner):
            for trial, networks in zip(batch, results, strict=True):
                signals.check()
                with_model = trial.arm == winner and trial.phase == schema.CONFIRM
                self.tracker.log_trial(trial, networks, with_model=with_model)
                score = fmean(network.scores[self.declaration.objective] for network in networks)
                if not all(network.converged for network in networks):
                    score = math.nan
                    self.failed.append(trial)
                    self._progress.tell(networks[0].error or f"{trial.arm.name} diverged")
                self._scores[self._hash(trial)] = score
                self._progress.finish(trial, score, sum(one.seconds for one in networks))

    def search(self, recipe: Recipe, noise_types: Sequence[str]) -> None:
        """Run Optuna's trials; those that an earlier process finished are not proposed again."""

        def score(arms: dict[int, Arm]) -> dict[int, float]:
            trials = search_trials(self.preset, arms)
            self.run(trials)
            return dict(zip(arms, map(self.objective, trials), strict=True))

        declared = self.declaration
        adopted = search_trials_of(self._adopted, recipe.name, declared.objective)
        finished = {
            int(str(number)): Arm.from_row(row.to_dict(), recipe)
            for number, row in adopted.iterrows()
        }
        search.search(
            recipe,
            tuple(noise_types),
            declared.trials_per_type,
            declared.max_rate,
            finished,
            score,
        )

    def best_searched(self, recipe: Recipe, noise_types: Sequence[str]) -> list[Arm]:
        """Return the arms to re-rank; none of a noise type of which every trial diverged."""
        table, declared = self.table(), self.declaration
        searched = set(_rows_of(table, schema.SEARCH, recipe)["noise"])
        arms = []
        for noise in noise_types:
            if noise in searched:
                ranking = selection.search_ranking(table, noise, declared.objective, recipe.name)
                best = ranking[: declared.rerank_top]
                arms += [Arm.from_row(row._asdict(), recipe) for row in best]
        return arms

    def tuned_arms(self, recipe: Recipe) -> Tuned:
        """Return the winner of each noise type, the best first; none where every trial diverged.

        Raises:
            NothingToCompare: every trial of no noise or of dropout diverged.
        """
        table, objective = self.table(), self.declaration.objective
        reranked = set(_rows_of(table, schema.RERANK, recipe)["noise"])
        if missing := [noise for noise in REFERENCES if noise not in reranked]:
            raise NothingToCompare(
                f"every trial of {' and of '.join(missing)} diverged under {recipe.name}"
            )
        best = [
            selection.rerank_ranking(table, noise, recipe.name, objective)[0]
            for noise in self.noise_types
            if noise in reranked
        ]
        best.sort(key=lambda row: -row.score)
        return {row.noise: Arm.from_row(row._asdict(), recipe) for row in best}

    def best_of(self, arms: Sequence[Arm]) -> Arm | None:
        """Return the best of the arms on the re-ranking's validation images, if any was
        re-ranked."""
        by_name = {arm.name: arm for arm in arms}
        objective = self.declaration.objective
        best = selection.best_reranked(self.table(), list(by_name), objective)
        return by_name[best] if best else None

    def log_arms(self, names: dict[str, dict[str, str]]) -> None:
        """Log what the declared rules picked."""
        self.tracker.log_arms(names)

    def objective(self, trial: Trial) -> float:
        """Return the mean of the declared objective over a trial's seeds; NaN if one diverged."""
        return self._scores[self._hash(trial)]

    @property
    def incomplete(self) -> bool:
        """True if failed trials left a hole in the answers.

        A failed trial of the search leaves none while its noise type has others.
        """
        if not self.failed:
            return False
        table = self.table()
        rows = table.loc[table["phase"] == schema.SEARCH]
        searched = set(zip(rows["recipe"], rows["noise"], strict=True))
        return any(
            trial.phase != schema.SEARCH or (trial.arm.recipe.name, trial.arm.noise) not in searched
            for trial in self.failed
        )

    def table(self) -> pd.DataFrame:
        """Return the run table as the store has it now."""
        return self.read().table

    @patient
    def read(self, images: bool = False) -> reader.Study:
        """Read the study as the store has it now; `images` as in `reader.load`."""
        return reader.load(self.declaration.study_id, self.tracker.experiment, images=images)

    def report(self, folder: Path) -> Path:
        """Write the report and return its page.

        Raises:
            CutShort: it cannot be written, as on a full disk.
        """
        try:
            return writer.write(self.read(images=True), folder)
        except OSError as error:
            raise CutShort(
                f"the report cannot be written to {shortened(str(folder))}: "
                f"{error.strerror or one_line(error)}; {KEPT}"
            ) from error

    def _hash(self, trial: Trial) -> str:
        return trial.hash(self.tracker.setting, self.declaration.data["digest"])


def _rows_of(table: pd.DataFrame, phase: str, recipe: Recipe) -> pd.DataFrame:
    return table[(table["phase"] == phase) & (table["recipe"] == recipe.name)]
