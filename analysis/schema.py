"""The contract between the writer and the reader of the tracking store.

`study.tracking.writer` writes these names, `analysis.store.reader` reads them. It imports nothing
of this project, so that the analysis runs where torch is not installed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

CODE_VERSION = 9
"""Part of every trial's hash. Raise it when a change moves the numbers a training run produces."""

EXPERIMENT = "dropout-study"

# Tags of a run. `kind` is study, trial or seed; a study run holds trial runs, a trial run holds
# seed runs. A study run that has not described its study yet is OPENING.
OPENING = "opening"
TAG_ID = "study.id"
TAG_KIND = "study.kind"
TAG_PHASE = "study.phase"
TAG_ARM = "study.arm"
TAG_HASH = "study.hash"
TAG_QUESTION = "study.question"
TAG_SEED = "study.seed"
TAG_NUMBER = "study.trial_number"
TAG_PRESET = "study.preset"
TAG_HEARTBEAT = "study.heartbeat"
TAG_COMMIT = "study.git_commit"
TAG_DIRTY = "study.git_dirty"
TAG_DATASET = "study.dataset"
TAG_DATA = "study.data_digest"
TAG_CONTENT = "study.data_content"
TAG_CODE = "study.code_version"
TAG_PARENT = "mlflow.parentRunId"

# Artifacts of the study run.
DECLARATION_FILE = "declaration.json"
"""The Declaration, logged before the first training."""
ARMS_FILE = "arms.json"
"""{recipe name: {arm label: arm name}}: what the declared rules picked, logged before the confirm
phase."""
VERSIONS_FILE = "versions.json"
"""{"packages": {name: version}, "machine": {...}}."""
IMAGES_FILE = "images.npz"
"""Of a trial run that read test images: "nll" (seeds, images) float16, "correct" the same as bits
packed by row."""
REPORT_FOLDER = "report"
REPORT_FILES = (
    "index.html",
    "report.md",
    "answers.json",
    "run_table.csv",
    DECLARATION_FILE,
    ARMS_FILE,
    "figures",
)

RELIABILITY = "reliability/"
"""Begins the metrics of a seed run whose step is no epoch but a bin of test images, 1 the least
confident: `reliability/confidence` and `reliability/accuracy` of the deterministic pass, and of
other ways to predict with endings such as `_mc200_tempered`. A last value says nothing of them, so
they are no columns of the run table."""

RATES = ("rate1", "rate2", "rate3")
"""Columns of an arm's rates; rate3 is missing where the noise type has none."""

TUNED = "tuned "
"""Before a noise type, in the label of its tuned arm."""

BEST = "best "
"""Begins the label of the best tuned arm of a class of noise, and after a comma that of an arm made
from it, if it has what is to be taken out."""

IMAGE_TYPES = frozenset({"shift", "shift+one-sided", "shift+gain"})
"""The noise types that know that an input is an image, of those that were there before declarations
said so; a declaration names the others."""

# Phases of a trial.
SEARCH, RERANK, CONFIRM = "search", "rerank", "confirm"
EXPLORE = "explore"  # grids and sketches on few seeds and validation images: pictures, no verdicts
AUDIT = "audit"  # what others measured, run again on validation images
PHASES = (SEARCH, RERANK, EXPLORE, AUDIT, CONFIRM)

# The run table: one row per finished seed run. Column name -> pandas dtype. What a question's
# measures logged beside these follows as further float64 columns, in alphabetical order, missing
# where a run was not measured.
RUN_TABLE: dict[str, str] = {
    "run_id": "string",
    "trial_run_id": "string",
    "study_id": "string",
    "phase": "string",  # one of PHASES
    "question": "string",  # "search", or the questions the trial serves, joined by commas
    "arm": "string",  # unique to its configuration: "dropout(0.2,0.5) wd=0.0001 decay@4"
    "trial_hash": "string",
    "trial_number": "Int64",  # Optuna's trial number, in the search phase only
    "seed": "int64",
    "noise": "string",
    "rate1": "float64",
    "rate2": "float64",
    "rate3": "float64",  # missing where the noise type has no third rate
    "weight_decay": "float64",
    "recipe": "string",
    "epochs": "int64",
    "learning_rate": "float64",
    "precision": "string",
    "device": "string",
    "data_digest": "string",  # of the images and labels, and how they were split
    "code_version": "int64",
    "train/loss": "float64",
    "val/loss": "float64",  # mean cross-entropy in nats, after the last step
    "val/accuracy": "float64",  # fraction in [0, 1], after the last step
    "val/accuracy_last3": "float64",  # mean of the curve's last three points
    "test/loss": "float64",  # missing outside the confirm phase
    "test/accuracy": "float64",  # missing outside the confirm phase
    "test/brier": "float64",  # squared distance of the probabilities from the label, 0 to 2
    "test/ece": "float64",  # expected calibration error, 15 bins of equal mass
    "test/logit_error": "float64",  # log(e / (1 - e)) of the test error e; made by the reader
    # Training time of the seed run's population, on its one worker, divided by its networks.
    "seconds": "float64",
}

HIGHER_IS_BETTER = {
    "accuracy": True,
    "loss": False,
    "brier": False,
    "ece": False,
    "logit_error": False,
}


NOT_DECLARED = "not a study declaration of this version"


def base_metric(metric: str) -> str:
    """Return the kind of a score: "accuracy" for val/accuracy_last3, "loss" for test/loss_mc10
    and test/loss_at_20.

    A metric that is no score ("variance/layer1_clean_at_5") is of the kind of its first part.
    """
    part, _, name = metric.partition("/")
    name = name.partition("_at_")[0]
    return next(
        (kind for kind in HIGHER_IS_BETTER if name == kind or name.startswith(f"{kind}_")), part
    )


def higher_is_better(metric: str) -> bool | None:
    """Return True if a larger value of `metric` ("test/accuracy", "val/loss", ...) is the better
    one; None if neither is."""
    return HIGHER_IS_BETTER.get(base_metric(metric))


def term(label: str, metric: str) -> str:
    """A contrast's term that takes another metric than the contrast's own."""
    return f"{label}:{metric}"


def _parts(term: str, metric: str) -> tuple[str, str]:
    """Arm label and metric of a term; a metric has a slash, so a noise type `module:Class` in a
    label is none."""
    label, colon, own = term.rpartition(":")
    return (label, own) if colon and "/" in own else (term, metric)


@dataclass(frozen=True)
class Contrast:
    """A declared per-seed contrast: for each seed, the sum over terms of coefficient times the
    arm's metric.

    Attributes:
        name: what a reader sees, such as "dropout (0.1, 0.5) - (0.5, 0.1)".
        recipe: name of the training recipe its arms were trained with.
        metric: a column of the run table, such as "test/accuracy".
        coefficients: term -> coefficient. A term is an arm label, or "label:metric" for another
            metric than the contrast's own, which still says unit and direction. Labels are resolved
            to arms by the study's ARMS_FILE.
        margin: the equivalence margin in the metric's own unit (0.002 is 0.2 accuracy points).
        family: contrasts of one question that share family and metric are Holm-adjusted together.
        candidate: contrasts with the same candidate also form an intersection-union test, beside
            their own (the largest p speaks for the candidate, Holm-adjusted across candidates);
            empty for a contrast that stands alone.
        key: names the contrast for the code and in the hash; by default the name, as in studies
            that were declared without keys.
    """

    name: str
    recipe: str
    metric: str
    coefficients: dict[str, float]
    margin: float
    family: str = "main"
    candidate: str = ""
    key: str = ""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.name)

    @property
    def identity(self) -> tuple[str, str, str]:
        """Key, recipe and metric: what tells it from the other contrasts of its question."""
        return self.key, self.recipe, self.metric

    @property
    def terms(self) -> list[tuple[str, str, float]]:
        """Arm label, metric and coefficient of each term."""
        return [
            (*_parts(term, self.metric), coefficient)
            for term, coefficient in self.coefficients.items()
        ]


@dataclass(frozen=True)
class Question:
    """A question as declared before its first run."""

    name: str  # swap, additivity, beat-dropout, ...
    title: str
    alpha: float
    seeds: tuple[int, ...]  # of the phase
    contrasts: tuple[Contrast, ...]
    rule: str  # in words, how the arms were or will be picked
    phase: str = CONFIRM  # whose runs answer it

    @property
    def hash(self) -> str:
        """The digest of the declaration: it changes whenever anything declared does."""
        return digest(_hashed(asdict(self)))


@dataclass(frozen=True)
class Declaration:
    """All that a study declares before it starts; `study.id` is its hash."""

    preset: str
    recipes: dict[str, dict[str, Any]]  # recipe name -> its settings
    # Those that arms are tuned under; the others take the first one's tuned values.
    tuned_recipes: tuple[str, ...]
    noise_types: tuple[str, ...]
    # So many types beside none and dropout, the best re-ranked, go on to the next tuned recipe.
    finalists: int
    trials_per_type: int
    search_seeds: tuple[int, ...]  # of older studies each trial has all, else one of them
    rerank_top: int
    rerank_seeds: tuple[int, ...]
    explore_seeds: tuple[int, ...]
    max_rate: float
    search_space: dict[str, Any]  # the sampler's settings and grids
    objective: str
    questions: tuple[Question, ...]
    # Name, digest (content and split), content, sizes; recipe -> the images it is trained on.
    data: dict[str, Any]
    precision: str
    device: str  # its type: cpu, cuda or mps
    code_version: int = CODE_VERSION
    robustness_seeds: tuple[int, ...] | None = None  # none in older studies
    train_examples: int | None = None  # of older studies, whose recipes did not say so themselves

    @property
    def study_id(self) -> str:
        """The hash that tags all runs of the study."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        questions = [_hashed(question) for question in fields["questions"]]
        return digest(fields | {"questions": questions})

    def train_examples_of(self, recipe: str) -> int:
        """Return how many training images a recipe uses: all of a smaller data set."""
        own = self.recipes.get(recipe, {}).get("train_examples") or self.train_examples
        there = int(self.data["train"])
        return min(int(own), there) if own else there

    @property
    def image_types(self) -> frozenset[str]:
        """The noise types that know that an input is an image."""
        return IMAGE_TYPES.union(self.search_space.get("image_types", ()))

    def rate_bounds(self, noise: str) -> list[tuple[float, float]]:
        """Lowest and highest value searched of each rate that a noise type has."""
        if noise == "none":
            return []
        undeclared = [[0.0, self.max_rate]] * 2
        bounds = self.search_space.get("bounds", {}).get(noise, undeclared)
        return [(low, min(high, self.max_rate)) for low, high in bounds]

    def to_json(self) -> str:
        """The declaration as indented JSON, keys sorted."""
        return json.dumps(asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Declaration:
        """Return the inverse of `to_json`.

        Raises:
            ValueError: the text is not a declaration of this schema.
        """
        try:
            declaration = TypeAdapter(cls).validate_json(text, strict=True, extra="forbid")
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "text"
            raise ValueError(f"{NOT_DECLARED}: {place}: {first['msg']}") from error
        except ValueError as error:  # half of a surrogate pair, which cannot be written
            raise ValueError(f"{NOT_DECLARED}: {error}") from error
        if nonsense := next(_nonsense(declaration), None):
            raise ValueError(f"{NOT_DECLARED}: {nonsense}")
        return declaration


def _hashed(question: dict[str, Any]) -> dict[str, Any]:
    """Put each contrast's key in the place of its display name, which may then change freely."""
    contrasts: list[Contrast] = []
    for contrast in question["contrasts"]:
        renamed = contrast | {"name": contrast["key"]}
        del renamed["key"]
        contrasts.append(renamed)
    return question | {"contrasts": contrasts}


def _nonsense(declaration: Declaration) -> Iterator[str]:
    """Yield what makes no sense in a declaration of the right types."""
    contrasts: list[Contrast] = []
    for question in declaration.questions:
        contrasts.extend(question.contrasts)
    if not declaration.tuned_recipes or "name" not in declaration.data:
        yield "it lacks a tuned recipe, or the name of its data"
    objective = declaration.objective
    if objective not in RUN_TABLE or higher_is_better(objective) is None:
        yield f"its objective {objective!r} is no known score"
    used = [contrast.recipe for contrast in contrasts]
    for name in (*declaration.recipes, *declaration.tuned_recipes, *used):
        epochs = declaration.recipes.get(name, {}).get("epochs")
        if type(epochs) is not int or epochs < 1:
            yield f"recipe {name!r} is not declared with its epochs"
    for contrast in contrasts:
        if not 0 < contrast.margin < math.inf:
            yield f"the margin of {contrast.name!r} is not positive"


def digest(value: Any) -> str:
    """Return twelve hexadecimal digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
