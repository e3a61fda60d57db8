"""What a plan is reckoned from: the batches a study will train, on the workers there are, at the
costs timed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.schema import CONFIRM, EXPLORE, RERANK, SEARCH, Contrast, Question
from analysis.stats.power import detectable_effect
from models.config import Recipe
from models.data import Split
from study.planning import detectable
from study.planning.cost import phase_seconds, stage_seconds
from study.planning.dry_run import planned_stages, stand_in
from study.planning.timing import Costs, Sample, chunk_sizes
from study.presets import DECAY, PRESETS
from study.trial import Trial

SHORT = Recipe("short", epochs=3, train_examples=25_600)
CHEAP, DEAR = Sample(0.01, 0.1, 0.1, 0.2, 1.0), Sample(0.04, 0.1, 0.1, 0.2, 1.0)
COSTS = Costs(
    {("none", 3): CHEAP, ("dropout", 3): DEAR, ("dropout", 6): Sample(0.07, 0.1, 0.1, 0.2, 1.0)},
    2,
    8,
    51_200,
)


def trials(*noises: str, seeds: int = 3, phase: str = SEARCH) -> list[Trial]:
    return [
        Trial(stand_in(noise, SHORT, i), tuple(range(seeds)), phase)
        for i, noise in enumerate(noises)
    ]


def test_a_batch_costs_its_steps_and_what_each_epoch_has_beside() -> None:
    """Of half of the images, with a point of the curve after each epoch but the last."""
    whole = 3 * (100 * 0.01 + 0.05) + 2 * 0.1 + 0.2
    assert COSTS.of(trials("none")) == pytest.approx(whole)
    assert COSTS.of(trials("none", phase=CONFIRM)) == pytest.approx(whole + 2 * 0.2)
    # A population of five lies between those of three and of six.
    between = 3 * (100 * 0.06 + 0.05) + 2 * 0.1 + 0.2
    assert COSTS.of(trials("dropout", seeds=10)) == pytest.approx(2 * between)


def test_a_long_training_has_few_points() -> None:
    recipe = replace(SHORT, epochs=160)
    trial = Trial(stand_in("none", recipe), (1, 2, 3), SEARCH)
    assert COSTS.of([trial]) == pytest.approx(160 * (100 * 0.01 + 0.05) + 13 * 0.1 + 0.2)


def test_populations_are_cut_as_training_cuts_them() -> None:
    assert [chunk_sizes(n, 8) for n in (1, 8, 9, 10, 20)] == [[1], [8], [5, 4], [5, 5], [7, 7, 6]]


def test_a_stage_ends_with_its_slowest_worker() -> None:
    dropout = COSTS.of(trials("dropout"))
    assert COSTS.makespan(trials("dropout", "none")) == pytest.approx(dropout)
    assert COSTS.makespan([*trials("dropout"), *trials("dropout", seeds=2)]) == pytest.approx(
        dropout
    )
    assert stage_seconds(trials("dropout", "none"), COSTS) > dropout


def test_a_preset_is_planned_in_the_stages_it_is_run_in() -> None:
    quick = PRESETS["quick"]
    stages = planned_stages(quick, quick.noise_types)
    searched = len(quick.noise_types)  # without "none", but with dropout alone
    phases = [{trial.phase for trial in stage} for stage in stages]
    assert phases == [{one} for one in (*2 * (SEARCH, RERANK), EXPLORE, CONFIRM)]
    assert [len(stage) for stage in stages[:4]] == [15, 2, 15 * searched, 2 * searched]
    assert all(len(trial.seeds) == 1 for trial in stages[0] + stages[2])
    every = [trial for stage in stages for trial in stage if trial.phase == SEARCH]
    assert len({trial.number for trial in every}) == len(every) == 15 * (searched + 1)
    sizes = list(range(1, 9))
    costs = Costs(
        {(noise, size): CHEAP for noise in quick.noise_types for size in sizes}, 2, 8, 50_000
    )
    spent = phase_seconds(stages, costs)
    assert sum(spent.values()) == pytest.approx(
        sum(stage_seconds(stage, costs) for stage in stages)
    )


def test_the_probe_times_what_training_does(small: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a few images: every type in the populations it will have, and numbers that are some."""
    from study.planning import timing
    from study.trial import Setting

    monkeypatch.setattr(timing, "SECONDS", 0.2)
    monkeypatch.setattr(timing, "load_split", lambda setting: small)
    costs = timing.probe(
        [trials("none", "dropout"), trials("dropout", seeds=10)], Setting("", "", "cpu")
    )
    assert set(costs.samples) == {("none", 3), ("dropout", 3), ("dropout", 5)}
    assert costs.examples == 1000 and costs.workers >= 1
    for sample in costs.samples.values():
        assert (
            sample.step > 0
            and sample.point > 0
            and sample.scoring > 0
            and 0 <= sample.undisturbed <= 1
        )


def contrast(
    coefficients: dict[str, float], recipe: str = "decay", metric: str = "test/accuracy"
) -> Contrast:
    return Contrast(" ".join(coefficients), recipe, metric, coefficients, margin=0.002)


def test_the_smallest_effects_are_those_of_a_paired_t_with_and_without_holm() -> None:
    plain, both = (
        contrast({"a": 1.0, "b": -1.0}),
        contrast({"a": 1.0, "b": -1.0, "c": -1.0, "d": 1.0}),
    )
    assert detectable.paired_sd(both) == pytest.approx(2**0.5 * detectable.paired_sd(plain))
    assert detectable.paired_sd(
        contrast({"a": 1.0, "b": -1.0}, "unheard-of")
    ) == detectable.paired_sd(plain)
    question = Question(
        "swap", "", 0.05, tuple(range(10)), (plain, contrast({"c": 1.0, "d": -1.0})), ""
    )
    heading, line, *_ = detectable.describe([question])
    alone, first = (100 * detectable_effect(0.0011, 10, alpha) for alpha in (0.05, 0.025))
    assert heading.split()[:4] == ["question", "metric", "family", "contrasts"]
    assert f"{alone:.2f} pp" in line and f"{first:.2f} pp" in line and first > alone
    assert "±0.2 pp" in line


def test_every_declared_contrast_has_an_sd() -> None:
    from analysis.questions import DESIGNS

    for design in DESIGNS.values():
        for one in design.declare([DECAY], (1, 2, 3), ("none", "dropout", "gaussian")).contrasts:
            assert detectable.paired_sd(one) > 0
