"""What a study would cost: counted, and timed by a short probe. Runs nothing that is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from analysis import stats
from models.config import Arm
from study import schema
from study.designs.base import ALPHA
from study.executors import in_process
from study.presets import Preset
from study.trial import Setting, Trial

PAIRED_SD = 0.0015
"""SD over seeds of a paired difference in accuracy, typical of those measured by `quick`; a study measures its own."""

BYTES_PER_SEED_RUN = 13_000
"""Of a seed run in the default store: database rows of its parameters, tags and curves (measured on `quick`)."""


def seconds_per_network_epoch(preset: Preset, setting: Setting) -> float:
    """Wall seconds for one epoch of one network when all cores are at work, timed on dropout for some seconds."""
    arm = Arm("dropout", 0.5, 0.5, 1e-4, replace(preset.recipes[-1], epochs=1))
    with in_process(setting.device, on_step=lambda network_epochs: None) as trainer:
        trials = [Trial(arm, (seed, seed + 1, seed + 2), schema.SEARCH) for seed in range(trainer.workers)]
        start = time.perf_counter()
        list(trainer.train([[trial] for trial in trials], setting))
        seconds = time.perf_counter() - start
    return seconds / sum(trial.network_epochs for trial in trials)


def describe(preset: Preset, trials: Sequence[Trial], seconds_each: float) -> str:
    """The plan as a table of phases, with time, disk and what the study could detect."""
    lines = [f"{'phase':<10}{'trials':>8}{'networks':>10}{'network-epochs':>16}{'minutes':>10}"]
    for phase in (*schema.PHASES, "all"):
        some = [trial for trial in trials if phase in (trial.phase, "all")]
        if not some:
            continue
        networks, epochs = sum(len(trial.seeds) for trial in some), sum(trial.network_epochs for trial in some)
        lines.append(f"{phase:<10}{len(some):>8}{networks:>10}{epochs:>16}{epochs * seconds_each / 60:>10.1f}")
    networks = sum(len(trial.seeds) for trial in trials)
    seeds = len(preset.confirm_seeds)
    effect = stats.detectable_effect(PAIRED_SD, seeds, ALPHA)
    return "\n".join(
        [
            *lines,
            f"disk: about {networks * BYTES_PER_SEED_RUN / 1e6:.0f} MB in the tracking store",
            f"power: {seeds} seeds find a difference of {100 * effect:.2f} accuracy points in 80 % of studies"
            f" (paired SD {100 * PAIRED_SD:g} points, alpha 0.05, before Holm's correction)",
        ]
    )
