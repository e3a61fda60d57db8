"""What a study declares: its id changes on purpose alone, and what questions ask for is measured."""

from __future__ import annotations

import pytest

from analysis.questions import epochs, noisy_inference
from analysis.schema import CODE_VERSION
from models.data import Split
from models.probes import mc_dropout
from models.probes.base import MARKS
from study.declaration import declare, pick_noise_types
from study.presets import PRESETS
from study.trial import Setting

IDS = {
    "smoke": "b89a49887715",
    "quick": "32cd97aac87d",
    "full": "e8df135bd8ee",
    "contest": "ebbb1319ebba",
}
"""Preset -> id of its study on Fashion-MNIST in float32, code version 8."""


@pytest.mark.skipif(CODE_VERSION != 8, reason="the ids are of code version 8")
@pytest.mark.parametrize("name", PRESETS)
def test_an_id_changes_on_purpose_alone(name: str, parts: Split) -> None:
    """A store written by earlier code is resumed only while its study has the same id."""
    preset = PRESETS[name]
    setting = Setting("fashion-mnist", "data", "cpu", "float32")
    declared = declare(preset, pick_noise_types("preset", preset), 0.5, parts, setting)
    assert declared.study_id == IDS[name]


def test_probes_measure_what_questions_declare() -> None:
    """`analysis` does not import `models`, so both sides name the same horizons and passes."""
    assert set(epochs.HORIZONS) <= set(MARKS)
    assert mc_dropout.PASSES[-1] == noisy_inference.PASSES
