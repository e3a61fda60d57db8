"""A tracking store as `study.tracking` would leave it, written by MLflow's client; its scores come
from the seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Metric, Param, RunTag

from analysis import schema
from analysis.schema import Contrast, Declaration, Question, digest
from analysis.stats import selection
from analysis.store import reader

RECIPE = "decay"
OBJECTIVE = "val/accuracy"
SETTINGS = {
    "decay": {
        "epochs": 4,
        "learning_rate": 0.1,
        "momentum": 0.0,
        "schedule": "linear",
        "batch_size": 256,
    }
}
GAIN = {"none": 0.0, "dropout": 0.004, "gaussian": 0.0045}  # in accuracy, at the best rates
PAIRS = ((0.1, 0.5), (0.2, 0.5), (0.1, 0.9))
PARAM_LENGTH = 6000  # MLflow cuts off what is longer
NOISE_TYPES = ("none", "dropout", "gaussian")


@dataclass(frozen=True)
class Arm:
    noise: str
    rate1: float
    rate2: float
    weight_decay: float
    recipe: str = RECIPE
    epochs: int = 4
    rate3: float | None = None

    @property
    def name(self) -> str:
        third = "" if self.rate3 is None else f",{self.rate3:g}"
        return f"{self.noise}({self.rate1:g},{self.rate2:g}{third}) wd={self.weight_decay:g} {self.recipe}@{self.epochs}"

    @classmethod
    def of(cls, row: selection.Ranked) -> Arm:
        return cls(row.noise, row.rate1, row.rate2, row.weight_decay, row.recipe, row.epochs)


def declaration(
    seeds: Sequence[int] = tuple(range(100, 108)), preset: str = "quick"
) -> Declaration:
    """The three headline questions as `analysis.questions` declares them, three noise types, one
    recipe."""

    def contrasts(*rows: tuple[str, dict[str, float], str, str]) -> tuple[Contrast, ...]:
        return tuple(
            Contrast(name, RECIPE, metric, coefficients, margin, family, candidate)
            for metric, margin in (("test/accuracy", 0.002), ("test/loss", 0.005))
            for name, coefficients, family, candidate in rows
        )

    def minus(first: str, second: str, prefix: str = "") -> dict[str, float]:
        return {prefix + first: 1.0, prefix + second: -1.0}

    swap = [
        (
            f"dropout ({p:g}, {q:g}) - ({q:g}, {p:g})",
            minus(f"({p:g},{q:g})", f"({q:g},{p:g})", "dropout"),
            "main, decay",
            "",
        )
        for p, q in PAIRS
    ]
    singles = ("dropout", "weight decay")
    additivity = [
        *(
            (f"{single} - none", minus(single, "none"), "main, decay", "")
            for single in (*singles, "both")
        ),
        *((f"both - {single}", minus("both", single), "main, decay", "") for single in singles),
        (
            "interaction",
            {"both": 1.0, "dropout": -1.0, "weight decay": -1.0, "none": 1.0},
            "main, decay",
            "",
        ),
    ]
    beat = [
        *(
            (f"gaussian - {rival}", minus("gaussian", rival, "tuned "), "candidates", "gaussian")
            for rival in singles[:1]
        ),
        ("gaussian - none", minus("gaussian", "none", "tuned "), "candidates", "gaussian"),
        ("dropout - none", minus("dropout", "none", "tuned "), "reference", ""),
    ]
    questions = {
        "swap": (
            "Does it matter which layer gets the larger dropout rate?",
            swap,
            "The pairs are fixed.",
        ),
        "additivity": (
            "Are the gains of dropout and weight decay additive?",
            additivity,
            "A 2 x 2 of tuned values.",
        ),
        "beat-dropout": ("Does any noise beat dropout?", beat, "Each noise type's tuned arm."),
    }
    return Declaration(
        preset=preset,
        recipes=SETTINGS,
        tuned_recipes=(RECIPE,),
        noise_types=NOISE_TYPES,
        finalists=5,
        trials_per_type=6,
        search_seeds=(1, 2, 3),
        rerank_top=2,
        rerank_seeds=(11, 12, 13),
        explore_seeds=(),
        max_rate=0.6,
        search_space={},
        objective=OBJECTIVE,
        questions=tuple(
            Question(name, title, 0.05, tuple(seeds), contrasts(*rows), rule)
            for name, (title, rows, rule) in questions.items()
        ),
        data={
            "name": "fashion-mnist",
            "digest": "0123456789ab",
            "content": "ba9876543210",
            "train": 50_000,
            "validation": 10_000,
            "test": 10_000,
        },
        precision="float32",
        device="cpu",
    )


class Writer:
    """Writes one study, in the order a study happens; start times are its own count of seconds."""

    def __init__(
        self,
        declared: Declaration,
        experiment: str = schema.EXPERIMENT,
        start: int = 1_700_000_000_000,
    ):
        self.client = mlflow.MlflowClient()
        found = self.client.get_experiment_by_name(experiment)
        self.experiment_id = (
            found.experiment_id if found else self.client.create_experiment(experiment)
        )
        self.declared, self.study_id = (
            declared,
            declared.study_id,
        )  # a hash of everything: not anew for each run
        self.clock = start
        self.study_run = self._create(f"study-{declared.preset}", "study", {})
        self.artifact(schema.DECLARATION_FILE, declared.to_json())
        versions = {
            "packages": {"torch": "2.0", "mlflow": "3.0"},
            "machine": {"cpu": "test", "cores": "2"},
        }
        self.artifact(schema.VERSIONS_FILE, json.dumps(versions))

    def _create(self, name: str, kind: str, tags: dict[str, str]) -> str:
        self.clock += 1000
        tags = {schema.TAG_ID: self.study_id, schema.TAG_KIND: kind, **tags}
        if kind == "study":
            tags |= {schema.TAG_COMMIT: "c0ffee0" * 5, schema.TAG_DIRTY: "true"}
        return self.client.create_run(self.experiment_id, self.clock, tags, name).info.run_id

    def artifact(self, name: str, text: str) -> None:
        self.client.log_text(self.study_run, text, name)

    def arms(self, labels: dict[str, Arm]) -> None:
        self.artifact(
            schema.ARMS_FILE,
            json.dumps({RECIPE: {label: arm.name for label, arm in labels.items()}}),
        )

    def trial(
        self,
        arm: Arm,
        seeds: Iterable[int],
        phase: str,
        question: str = "search",
        number: int | None = None,
        status: str = "FINISHED",
        drop: frozenset[str] = frozenset(),
        scores: dict[str, float] | None = None,
        bins: dict[str, Sequence[float]] | None = None,
    ) -> str:
        """A trial run and its seed runs; `drop` names what a seed run lacks, `scores` overrides its
        metrics, `bins` are metrics whose step is a bin."""
        seeds = tuple(seeds)
        hash_ = digest([arm.name, seeds, self.declared.code_version])
        tags = {
            schema.TAG_PHASE: phase,
            schema.TAG_QUESTION: question,
            schema.TAG_ARM: arm.name,
            schema.TAG_HASH: hash_,
            schema.TAG_DATA: str(self.declared.data["digest"]),
            schema.TAG_CONTENT: str(self.declared.data["content"]),
            schema.TAG_CODE: str(self.declared.code_version),
        }
        if number is not None:
            tags[schema.TAG_NUMBER] = str(number)
        params = {
            "noise": arm.noise,
            "rate1": repr(arm.rate1),
            "rate2": repr(arm.rate2),
            **({} if arm.rate3 is None else {"rate3": repr(arm.rate3)}),
            "weight_decay": repr(arm.weight_decay),
            "recipe": arm.recipe,
            "epochs": str(arm.epochs),
            "learning_rate": "0.1",
            "precision": "float32",
            "device": "cpu",
        }
        name = f"{arm.noise}-{phase}-{hash_[:4]}"
        trial_run = self._create(name, "trial", tags | {schema.TAG_PARENT: self.study_run})
        every = [metrics(arm, seed, phase) | (scores or {}) for seed in seeds]
        for seed, values in zip(seeds, every, strict=True):
            tags_of_seed = tags | {schema.TAG_SEED: str(seed), schema.TAG_PARENT: trial_run}
            run = self._create(f"{name}-s{seed}", "seed", tags_of_seed)
            self._log(run, values, params | {"seed": str(seed)}, drop)
            for metric, in_bins in (bins or {}).items():
                for step, value in enumerate(in_bins, start=1):
                    self.client.log_metric(run, metric, value, self.clock, step)
            self.client.set_terminated(run, end_time=self.clock)
        means = {key: float(np.mean([values[key] for values in every])) for key in every[0]}
        self._log(trial_run, means, params | {"seeds": ",".join(map(str, seeds))}, frozenset())
        if status != "RUNNING":
            self.client.set_terminated(trial_run, status, self.clock)
        return trial_run

    def _log(
        self, run: str, values: dict[str, float], params: dict[str, str], drop: frozenset[str]
    ) -> None:
        self.client.log_batch(
            run,
            [Metric(key, value, self.clock, 4) for key, value in values.items() if key not in drop],
            [Param(key, value[:PARAM_LENGTH]) for key, value in params.items() if key not in drop],
            [RunTag("written", "at once")],
        )

    def end(self, status: str = "FINISHED") -> None:
        self.client.set_terminated(self.study_run, status, self.clock)


def metrics(arm: Arm, seed: int, phase: str) -> dict[str, float]:
    """Scores of one seed run: the seed moves all arms alike, the arm and chance move each alone."""
    shared = np.random.default_rng(seed).normal(0, 0.002)
    own = np.random.default_rng([seed, int(digest(arm.name), 16) % 2**32]).normal(0, 0.0012)
    strength = GAIN.get(arm.noise, 0.0) - 0.01 * (
        (arm.rate1 - 0.2) ** 2 + (arm.rate2 - 0.4) ** 2
    ) * (arm.noise != "none")
    accuracy = float(np.clip(0.885 + strength + shared + own + 0.6 * arm.weight_decay, 0, 1))
    loss = 0.32 - 2 * (accuracy - 0.885) - 0.01 * (arm.noise != "none")
    scores = {
        "train/loss": loss - 0.1,
        "val/loss": loss + 0.01,
        "val/accuracy": accuracy - 0.002,
        "val/accuracy_last3": accuracy - 0.0022,
        "seconds": 1.5 + arm.rate1,
    }
    return scores | (
        {"test/loss": loss, "test/accuracy": accuracy} if phase == schema.CONFIRM else {}
    )


def write_study(
    declared: Declaration | None = None, experiment: str = schema.EXPERIMENT, start: int = 0
) -> Writer:
    """A whole finished study in the current store, with one trial that was killed and trained anew,
    and one failed."""
    declared = declared or declaration()
    writer = Writer(declared, experiment, start or 1_700_000_000_000)
    random = np.random.default_rng(5)
    for number in range(declared.trials_per_type * len(declared.noise_types)):
        noise = declared.noise_types[number % len(declared.noise_types)]
        rate1, rate2 = (
            (0.0, 0.0) if noise == "none" else random.uniform(0, 0.6, 2).round(3).tolist()
        )
        arm = Arm(noise, rate1, rate2, float(f"{10 ** random.uniform(-6, -2.5):.3g}"))
        writer.trial(arm, declared.search_seeds, schema.SEARCH, number=number)
    table = reader.load(declared.study_id, experiment).table
    for noise in declared.noise_types:
        for row in selection.search_ranking(table, noise, OBJECTIVE, RECIPE)[: declared.rerank_top]:
            writer.trial(Arm.of(row), declared.rerank_seeds, schema.RERANK)
    table = reader.load(declared.study_id, experiment).table
    tuned = {noise: Arm.of(_best_reranked(table, noise)) for noise in declared.noise_types}
    labels = {
        f"dropout({rate1:g},{rate2:g})": Arm("dropout", rate1, rate2, 0.0)
        for p, q in PAIRS
        for rate1, rate2 in ((p, q), (q, p))
    }
    labels |= {
        "none": Arm("none", 0.0, 0.0, 0.0),
        "dropout": replace(tuned["dropout"], weight_decay=0.0),
        "weight decay": tuned["none"],
        "both": replace(tuned["dropout"], weight_decay=tuned["none"].weight_decay),
    }
    labels |= {f"tuned {noise}": arm for noise, arm in tuned.items()}
    writer.arms(labels)
    questions = ",".join(question.name for question in declared.questions)
    seeds = declared.questions[0].seeds
    writer.trial(
        labels["tuned dropout"],
        seeds,
        schema.CONFIRM,
        questions,
        status="KILLED",
        scores={"test/accuracy": 0.1},
    )
    writer.trial(
        Arm("dropout", 0.9, 0.9, 0.0), seeds[:1], schema.CONFIRM, questions, status="FAILED"
    )
    for arm in dict.fromkeys(labels.values()):
        writer.trial(arm, seeds, schema.CONFIRM, questions)
    writer.end()
    return writer


def _best_reranked(table: pd.DataFrame, noise: str) -> selection.Ranked:
    """The search's arm of a type with the best mean on the re-ranking's seeds."""
    rows = table.loc[(table["phase"] == schema.RERANK) & (table["noise"] == noise)]
    best = rows.groupby("arm")[OBJECTIVE].mean().idxmax()
    return next(
        row for row in selection.search_ranking(table, noise, OBJECTIVE, RECIPE) if row.arm == best
    )


def use_store(folder: Path) -> str:
    """Point MLflow to a fresh sqlite store in `folder`; artifacts lie beside it. Returns the
    address."""
    address = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(address)
    client = mlflow.MlflowClient()
    client.create_experiment(schema.EXPERIMENT, (folder / "artifacts").as_uri())
    return address
