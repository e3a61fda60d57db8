"""The unit of work: one arm on a block of seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from analysis import schema
from models.config import Arm
from models.noise import noise_version


@dataclass(frozen=True)
class Setting:
    """What every trial of a study shares, and a worker needs to train one.

    Attributes:
        folder: where the data set is kept.
        device: a torch device, cpu, cuda or mps.
        precision: of the matrix products in training, a name in `models.matmul.PRECISIONS`;
            weights and scores are float32 in all.
        digest: of the study's data as the coordinator has split it; a worker that has other data
            takes no part.
    """

    dataset: str
    folder: str
    device: str
    precision: str = "float32"
    digest: str = field(default="", compare=False)

    @property
    def device_type(self) -> str:
        """cpu, cuda or mps: results of one type agree, and are not mixed with another's."""
        return self.device.partition(":")[0]


@dataclass(frozen=True)
class Trial:
    """One arm on a block of seeds, in one phase of the study.

    Attributes:
        questions: the questions it serves; ("search",) while arms are tuned.
        measures: what is measured beside the usual, names of `models.probes`.
        number: Optuna's trial number, in the search phase only.
    """

    arm: Arm
    seeds: tuple[int, ...]
    phase: str
    questions: tuple[str, ...] = ("search",)
    number: int | None = None
    measures: tuple[str, ...] = ()

    @property
    def reads_test_set(self) -> bool:
        """True in the confirm phase alone."""
        return self.phase == schema.CONFIRM

    @property
    def network_epochs(self) -> int:
        """Epochs of its training, over all networks."""
        return len(self.seeds) * self.arm.recipe.epochs

    @property
    def work(self) -> int:
        """The cost of its training: images shown, over all networks."""
        return self.network_epochs * self.arm.recipe.train_examples

    def hash(self, setting: Setting, data_digest: str) -> str:
        """Name the trial by all that its result depends on.

        On processors of one kind, two trials of one hash agree bit for bit; on others (AVX2 in
        place of AVX-512, say) in the last digits they do not.
        """
        arm = asdict(self.arm)
        if len(self.arm.rates) < len(schema.RATES):
            del arm["rate3"]  # as when no type had one: those trials are still good
        code = [schema.CODE_VERSION, *filter(None, [noise_version(self.arm.noise)])]
        return schema.digest(
            [
                arm,
                self.seeds,
                self.phase,
                self.measures,
                data_digest,
                setting.device_type,
                setting.precision,
                *code,
            ]
        )


def batches(trials: Iterable[Trial], population: int) -> Iterator[list[Trial]]:
    """Group trials of equally many seeds into populations of about `population` networks.

    Small groups are logged early, so little is lost when a study is killed.
    """
    groups: dict[object, list[Trial]] = {}
    for trial in trials:
        key = (trial.arm.noise, trial.arm.recipe, len(trial.seeds), trial.phase, trial.measures)
        groups.setdefault(key, []).append(trial)
    for group in groups.values():
        size = max(1, population // len(group[0].seeds))
        yield from (group[i : i + size] for i in range(0, len(group), size))
