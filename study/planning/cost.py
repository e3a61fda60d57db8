"""What a study would cost: counted, and timed by a short probe. Runs nothing that is kept."""

from __future__ import annotations

from collections.abc import Sequence

from analysis import schema
from analysis.formatting import duration, plural, recipes_in_words
from analysis.questions import DESIGNS
from analysis.questions.base import DROPOUT_ALONE
from analysis.schema import Declaration
from study.executors.pieces import cut
from study.planning.dry_run import stand_in
from study.planning.timing import Costs
from study.presets import Preset
from study.trial import Trial, batches

BYTES_PER_RUN = 13_000
"""In the default store: database rows of a run's parameters, tags and curves (measured on
`quick`)."""
BYTES_PER_IMAGE = 2.2
"""Of a confirmed network's scores of each test image."""
BYTES_OF_THE_REST = 4_000_000
"""The empty database, the report, the winner as a model."""
OPENING = 5.0
"""Seconds in which a study makes its database, opens it and describes itself."""
LOGGING = 0.06
"""Seconds of one core for a run, trial or seed, in the default store."""
READING = 0.004
"""Seconds for each run that is there whenever a phase reads what those before it have found."""
READINGS = 5
"""Of a tuned recipe."""
REPORT, REPORT_PER_CONTRAST = 8.0, 0.15
"""Seconds of the report: its figures and pages, and the resampling of each contrast."""


def stage_seconds(stage: Sequence[Trial], costs: Costs) -> float:
    """Wall seconds of a stage: its training, and its logging, which interrupts the training."""
    grouped = list(batches(stage, costs.population))
    runs = [sum(1 + len(trial.seeds) for trial in batch) for batch in grouped]
    beside = LOGGING * sum(runs[:-1]) / costs.workers
    after = LOGGING * runs[-1]  # while the last batch is logged, nothing trains
    return costs.makespan(stage) + beside + after


def seconds(
    stages: Sequence[Sequence[Trial]], declaration: Declaration, costs: Costs
) -> tuple[float, float]:
    """Wall seconds of training and logging, and of the report."""
    contrasts = sum(len(question.contrasts) for question in declaration.questions)
    runs = sum(1 + len(trial.seeds) for stage in stages for trial in stage)
    readings = READINGS * len(declaration.tuned_recipes)
    reading = READING * readings * runs / 2  # on the way half of them are there
    training = sum(stage_seconds(stage, costs) for stage in stages)
    return training + reading, REPORT + REPORT_PER_CONTRAST * contrasts + READING * runs


def describe(
    preset: Preset, declaration: Declaration, stages: Sequence[Sequence[Trial]], costs: Costs
) -> list[str]:
    """The plan as lines: a table of phases, the arms, and the space in the store."""
    trials = [trial for stage in stages for trial in stage]
    lines = [f"{'phase':<10}{'trials':>8}{'networks':>10}{'network-epochs':>16}{'time':>12}  seeds"]
    spent = phase_seconds(stages, costs)
    for phase in schema.PHASES:
        some = [trial for trial in trials if trial.phase == phase]
        if some:
            lines.append(f"{_row(phase, some, spent[phase])}  {_ranges(some)}")
    lines.append(_row("all", trials, sum(spent.values())))
    words = recipes_in_words(declaration)
    recipes = " and with ".join(f"{words[one.name]} ({one.name})" for one in preset.recipes)
    each = plural(preset.trials_per_type, "trial")
    lines.append(
        f"noise types: {', '.join(declaration.noise_types)}; {each} of each tuned with {recipes}"
    )
    lines += [
        f"arms of {question}: {', '.join(labels)}"
        for question, labels in arms(preset, declaration).items()
    ]
    networks = sum(len(trial.seeds) for trial in trials)
    tested = sum(len(trial.seeds) for trial in trials if trial.reads_test_set)
    scores = tested * declaration.data["test"]
    size = (networks + len(trials)) * BYTES_PER_RUN + scores * BYTES_PER_IMAGE + BYTES_OF_THE_REST
    lines.append(
        f"runs: 1 of the study, {len(trials)} of trials, {networks} of networks, each with its seed"
    )
    return [*lines, f"disk: about {size / 1e6:.0f} MB in the tracking store"]


def _row(name: str, trials: Sequence[Trial], seconds: float) -> str:
    networks = sum(len(trial.seeds) for trial in trials)
    epochs = sum(trial.network_epochs for trial in trials)
    return f"{name:<10}{len(trials):>8}{networks:>10}{epochs:>16}{duration(seconds):>12}"


def phase_seconds(stages: Sequence[Sequence[Trial]], costs: Costs) -> dict[str, float]:
    """Wall seconds of each phase, a stage of two phases being shared out by what they cost."""
    spent: dict[str, float] = {}
    for stage in stages:
        shares: dict[str, float] = {}
        for piece in cut(batches(stage, costs.population), costs.workers):
            phase = piece.trials[0].phase
            shares[phase] = shares.get(phase, 0.0) + costs.of(piece.trials)
        for phase, share in shares.items():
            whole = stage_seconds(stage, costs)
            spent[phase] = spent.get(phase, 0.0) + whole * share / sum(shares.values())
    return spent


def arms(preset: Preset, declaration: Declaration) -> dict[str, list[str]]:
    """Question -> the labels of the arms it compares, "tuned" where the search finds them."""
    labels = (*declaration.noise_types, DROPOUT_ALONE)
    tuned = {label: stand_in(label, preset.recipes[0]) for label in labels}
    return {
        name: list(DESIGNS[name].arms(recipes[0], tuned))
        for name, recipes in preset.questions.items()
    }


def caveats(stages: Sequence[Sequence[Trial]], costs: Costs) -> list[str]:
    """Tell what the estimate leaves out, and what disturbed it."""
    lines = []
    if any(trial.measures for stage in stages for trial in stage):
        lines.append(
            "not in the time: what some questions measure beside the usual, such as variances and "
            "noisy passes"
        )
    if (share := costs.undisturbed) < 0.9:
        lines.append(
            f"this machine is busy: the probe had {share:.0%} of its cores' time; on a quiet one "
            "training takes less"
        )
    return lines


def _ranges(trials: Sequence[Trial]) -> str:
    """Return the trials' seeds as ranges: "0-2, 100"."""
    ranges: list[list[int]] = []
    for seed in sorted({seed for trial in trials for seed in trial.seeds}):
        if ranges and seed == ranges[-1][1] + 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
