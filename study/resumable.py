"""A study under way: what is finished stays finished, the rest is trained and logged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pandas as pd

from analysis import schema
from analysis.formatting import one_line
from analysis.report import writer as report
from analysis.schema import Declaration
from analysis.store import reader
from models.config import Arm, Recipe
from study import signals
from study.commands import param_types
from study.commands.progress import Progress
from study.executors import Trainer
from study.presets import Preset
from study.signals import KEPT
from study.tracking.retry import CutShort, patient
from study.tracking.writer import Tracker
from study.trial import Trial, batches


class Session:
    """What the runner works with: declaration, tracker, executor, and the scores of the finished trials."""

    def __init__(
        self,
        preset: Preset,
        declaration: Declaration,
        tracker: Tracker,
        trainer: Trainer,
        progress: Progress,
    ) -> None:
        """Reads the finished trials of the same study from the store."""
        self.preset, self.declaration, self.tracker = preset, declaration, tracker
        self.failed: list[Trial] = []
        self.winner: Arm | None = None
        self._trainer, self._progress = trainer, progress
        self._adopted = self.table()
        # By the same mean as in `run`: that of pandas may differ in the last bit, and TPE sees it.
        by_trial = self._adopted.groupby("trial_hash")[declaration.objective]
        self._scores: dict[str, float] = {str(name): fmean(scores) for name, scores in by_trial}

    def run(self, trials: Sequence[Trial], winner: Arm | None = None) -> None:
        """Trains and logs the trials that are not finished yet; of the winner, one network also as a model."""
        self.winner = winner or self.winner
        missing = {
            self._hash(trial): trial for trial in trials if self._hash(trial) not in self._scores
        }
        self._progress.begin(trials)
        for trial in trials:
            if self._hash(trial) not in missing:
                self._progress.finish(trial, self.objective(trial))
        setting = self.tracker.setting
        grouped = batches(missing.values(), self._trainer.population(setting))
        for batch, results in self._trainer.train(grouped, setting, winner):
            for trial, networks in zip(batch, results, strict=True):
                signals.check()
                self.tracker.log_trial(
                    trial,
                    networks,
                    with_model=trial.arm == winner and trial.phase == schema.CONFIRM,
                )
                score = fmean(network.scores[self.declaration.objective] for network in networks)
                if not all(network.converged for network in networks):
                    score = math.nan
                    self.failed.append(trial)
                    self._progress.tell(networks[0].error)
                self._scores[self._hash(trial)] = score
                self._progress.finish(trial, score, sum(network.seconds for network in networks))

    def objective(self, trial: Trial) -> float:
        """Mean of the declared objective over the trial's seeds; NaN when a network diverged."""
        return self._scores[self._hash(trial)]

    @property
    def incomplete(self) -> bool:
        """Whether failed trials left a hole in the answers; one of a search is but a result that counts for nothing."""
        if not self.failed:
            return False
        table = self.table()
        rows = table.loc[table["phase"] == schema.SEARCH]
        searched = set(zip(rows["recipe"], rows["noise"], strict=True))
        return any(
            trial.phase != schema.SEARCH or (trial.arm.recipe.name, trial.arm.noise) not in searched
            for trial in self.failed
        )

    def searched(self, recipe: Recipe) -> dict[int, Arm]:
        """Optuna's trial number -> arm, of the search trials that an earlier process finished."""
        table = self._adopted
        rows = table[(table["phase"] == schema.SEARCH) & (table["recipe"] == recipe.name)]
        rows = rows.drop_duplicates("trial_number")
        return {
            int(row["trial_number"]): Arm(
                row["noise"], row["rate1"], row["rate2"], row["weight_decay"], recipe
            )
            for _, row in rows.iterrows()
        }

    def table(self) -> pd.DataFrame:
        """The run table as the store has it now."""
        return self.read().table

    @patient
    def read(self, images: bool = False) -> reader.Study:
        """The study as the store has it now; `images` as of `runs.load`."""
        return reader.load(self.declaration.study_id, self.tracker.experiment, images=images)

    def report(self, folder: Path) -> Path:
        """The page of the study's report, written last.

        Raises:
            CutShort: it cannot be written, as on a full disk.
        """
        try:
            return report.write(self.read(images=True), folder)
        except OSError as error:
            told = f"the report cannot be written to {param_types.cut(str(folder))}: {error.strerror or one_line(error)}"
            raise CutShort(f"{told}; {KEPT}") from error

    def _hash(self, trial: Trial) -> str:
        return trial.hash(self.tracker.setting, self.declaration.data["digest"])
