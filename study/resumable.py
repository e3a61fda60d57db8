"""A study under way: what is finished stays finished, the rest is trained and logged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Protocol

import pandas as pd

from analysis import schema
from analysis.formatting import arms_in_words, one_line, shortened
from analysis.questions.base import DROPOUT_ALONE, Tuned
from analysis.report import writer
from analysis.schema import Declaration
from analysis.stats import selection
from analysis.store import reader
from models.config import Arm, Recipe
from study import search_space, signals
from study.executors import TrialExecutor
from study.presets import Preset
from study.runner import NO_NOISE, REFERENCES, search_trials
from study.search import Search
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
        # Hash of a trial -> the objective of its networks, in the order of their seeds.
        self._scores: dict[str, list[float]] = {}
        for trial_hash, rows in adopted.table.sort_values("seed").groupby("trial_hash"):
            self._scores[str(trial_hash)] = [float(score) for score in rows[declaration.objective]]
        for trial_hash in adopted.diverged:  # it would diverge again
            self._scores.setdefault(trial_hash, [math.nan])
        # Not trained to their end, as for want of memory; the next process tries them again.
        self._not_trained: set[str] = set()
        self._searches: dict[tuple[Recipe, str], tuple[Search, list[Trial]]] = {}

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
                scores = [network.scores[self.declaration.objective] for network in networks]
                if not all(network.converged for network in networks):
                    scores = [math.nan]
                    self.failed.append(trial)
                    self._progress.tell(
                        networks[0].error or f"{arms_in_words(trial.arm.name)}: diverged"
                    )
                if networks[0].error:
                    self._not_trained.add(self._hash(trial))
                self._scores[self._hash(trial)] = scores
                seconds = sum(one.seconds for one in networks)
                self._progress.finish(trial, self.objective(trial), seconds)

    def search(self, recipe: Recipe, labels: Sequence[str]) -> None:
        """Run the search trials; those of an earlier process are found finished."""
        asked: list[Trial] = []
        for label in labels:
            search = self._new_search(recipe, label)
            first = (*self.noise_types, DROPOUT_ALONE).index(label) * search.trials
            trials = search_trials(self.preset, label, search.propose(), first)
            self._searches[recipe, label] = (search, trials)
            asked += trials
        self.run(asked)

    def shortlist(self, recipe: Recipe, labels: Sequence[str]) -> list[Arm]:
        """Return the arms to re-rank; none of a search in which every trial diverged."""
        arms = []
        for label in labels:
            search, trials = self._searches[recipe, label]
            best = search.shortlist(self._scored(trials), self.preset.rerank_top)
            trials += [Trial(arm, self.preset.rerank_seeds, schema.RERANK) for arm in best]
            arms += best
        return arms

    def tuned_arms(self, recipe: Recipe) -> Tuned:
        """Return the winner of each search, the best first; none where every trial diverged.

        Raises:
            NothingToCompare: every trial of no noise or of dropout diverged.
        """
        best: dict[str, tuple[Arm, float]] = {}
        for (of_recipe, label), (search, trials) in self._searches.items():
            again = [trial.arm for trial in trials if trial.phase == schema.RERANK]
            if of_recipe == recipe and (winner := search.winner(self._scored(trials), again)):
                best[label] = winner
        if missing := [noise for noise in REFERENCES if noise not in best]:
            raise NothingToCompare(
                f"every trial of {' and of '.join(missing)} diverged under {recipe.name}"
            )
        return {label: best[label][0] for label in sorted(best, key=lambda one: -best[one][1])}

    def tried(self, recipe: Recipe) -> Tuned:
        """Return the first arm of each search."""
        return {
            label: trials[0].arm
            for (of_recipe, label), (_, trials) in self._searches.items()
            if of_recipe == recipe
        }

    def _new_search(self, recipe: Recipe, label: str) -> Search:
        """Return a search; each but the one without noise begins at no noise's tuned arm.

        Raises:
            NothingToCompare: every trial of no noise diverged.
        """
        count, max_rate = self.preset.trials_per_type, self.declaration.max_rate
        if label in NO_NOISE:
            return Search(label, recipe, count, max_rate)
        search, trials = self._searches[recipe, NO_NOISE[0]]
        scored = self._scored(trials)
        again = [trial.arm for trial in trials if trial.phase == schema.RERANK]
        tuned = search.winner(scored, again)
        if not tuned:
            raise NothingToCompare(f"every trial of none diverged under {recipe.name}")
        own = search_space.at_rate_0(label, tuned[0])
        without = own.recipe.arm("none", 0.0, 0.0, own.weight_decay)
        known = {own: scored[without]} if without in scored else {}
        return Search(label, recipe, count, max_rate, tuned[0], known)

    def _scored(self, trials: Sequence[Trial]) -> dict[Arm, list[float]]:
        """Return the scores of the arms of finished trials; NaN of one that diverged."""
        scored: dict[Arm, list[float]] = {}
        for trial in trials:
            scores = self._scores.get(self._hash(trial))
            if scores and self._hash(trial) not in self._not_trained:
                scored.setdefault(trial.arm, []).extend(scores)
        return scored

    def best_of(self, arms: Sequence[Arm]) -> Arm | None:
        """Return the best of the arms on the re-ranking's validation images, if it had any."""
        by_name = {arm.name: arm for arm in arms}
        objective = self.declaration.objective
        best = selection.best_reranked(self.table(), list(by_name), objective)
        return by_name[best] if best else None

    def log_arms(self, names: dict[str, dict[str, str]]) -> None:
        """Log what the declared rules picked."""
        self.tracker.log_arms(names)

    def objective(self, trial: Trial) -> float:
        """Return the mean of the declared objective over a trial's seeds; NaN if one diverged."""
        return fmean(self._scores[self._hash(trial)])

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
