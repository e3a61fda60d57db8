"""What a study would cost: counted, and timed by a short probe. Runs nothing that is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence

from analysis import stats
from models.config import Arm
from study import executors, schema
from study.designs.base import ALPHA
from study.presets import Preset
from study.trial import Setting, Trial

PAIRED_SD = 0.003
"""SD over seeds of a paired difference in accuracy, as pilots under `decay` had it; a study measures its own."""

BYTES_PER_SEED_RUN = 40_000
"""Of a seed run in the default store: database rows of its parameters, tags and curves (measured on `quick`)."""

PROBE_EXAMPLES = 10_000


def seconds_per_network_epoch(preset: Preset, setting: Setting) -> float:
    """Wall seconds for one epoch of one network when all cores are at work, timed on dropout for some seconds."""
    probe = Setting(setting.dataset, setting.folder, min(PROBE_EXAMPLES, preset.train_examples), setting.device)
    executors.load_split(probe)
    arm = Arm("dropout", 0.5, 0.5, 1e-4, preset.recipes[0])
    trials = [Trial(arm, (seed, seed + 1, seed + 2), schema.SEARCH) for seed in range(0, 12, 3)]
    trained = 0.0
    with executors.local(setting.device, on_step=lambda network_epochs: None) as trainer:
        start = time.perf_counter()
        for batch, _ in trainer.train([[trial] for trial in trials], probe):
            trained += sum(trial.network_epochs for trial in batch)
        seconds = time.perf_counter() - start
    return seconds / trained * preset.train_examples / probe.train_examples


def describe(preset: Preset, trials: Sequence[Trial], seconds_each: float) -> str:
    """The plan as a table of phases, with time, disk and what the study could detect."""
    lines = [f"{'phase':<10}{'trials':>8}{'networks':>10}{'network-epochs':>16}{'minutes':>10}"]
    for phase in (schema.SEARCH, schema.RERANK, schema.CONFIRM, "all"):
        some = [trial for trial in trials if phase in (trial.phase, "all")]
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
