"""What a study declares: its id changes on purpose alone, and what questions ask for is measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.questions import epochs, noisy_inference
from analysis.schema import CODE_VERSION, IMAGE_TYPES
from models.data import Split
from models.noise import NOISE, UNSEARCHED, noise_type
from models.noise.dropout import Dropout
from models.noise.inputs import InputDropout, with_input
from models.noise.schedules import early, scheduled
from models.noise.shift import Shift
from models.probes import mc_dropout
from models.probes.base import MARKS
from study.declaration import declare, pick_noise_types
from study.presets import LONG, PRESETS, SMALL
from study.trial import Setting, Trial

IDS = {
    "smoke": "08035615c54e",
    "quick": "635f03b353d3",
    "full": "9035402d27c2",
    "contest": "410f9318d5b6",
}
"""Preset -> id of its study on Fashion-MNIST in float32, code version 9."""


@pytest.mark.skipif(CODE_VERSION != 9, reason="the ids are of code version 9")
@pytest.mark.parametrize("name", PRESETS)
def test_an_id_changes_on_purpose_alone(name: str, parts: Split) -> None:
    """A store written by earlier code is resumed only while its study has the same id."""
    preset = PRESETS[name]
    setting = Setting("fashion-mnist", "data", "cpu", "float32")
    declared = declare(preset, pick_noise_types("preset", preset), 0.5, parts, setting)
    assert declared.study_id == IDS[name]


def test_a_third_rate_is_hashed_where_a_type_has_it() -> None:
    """Finished trials of other types stay good; a composition's of two rates are another trial."""
    hashes = []
    for arm in (SMALL.arm("dropout", 0.2, 0.3, 1e-4), SMALL.arm("shift", 0.2, 0.0, 1e-4)):
        hashes.append(Trial(arm, (1,), "search").hash(Setting("name", "", "cpu"), "digest"))
    assert hashes == ["3ce2c5a83dad", "dba8228b17de"]
    composed = set()
    for rate3 in (0.0, 0.3):
        arm = SMALL.arm("shift+dropout", 0.2, 0.3, 1e-4, rate3)
        composed.add(Trial(arm, (1,), "search").hash(Setting("name", "", "cpu"), "digest"))
    assert len(composed) == 2 and "22c677dcaf29" not in composed


def test_probes_measure_what_questions_declare() -> None:
    """`analysis` does not import `models`, so both sides name the same horizons and passes."""
    assert set(epochs.HORIZONS) <= set(MARKS)
    assert mc_dropout.PASSES[-1] == noisy_inference.PASSES


@pytest.mark.parametrize("images", [900, 3_000, 5_000, 20_000, 50_000])
def test_a_size_that_the_data_set_lacks_is_left_out(images: int) -> None:
    """It would be trained on fewer images than its name says; all else is asked."""
    preset = PRESETS["full"].on_images(images)
    asked = {recipe.name: recipe for recipe in preset.questions["epochs"]}
    sizes = {epochs.SIZES[name] for name in epochs.SIZES if name in asked}
    assert sizes == {size for size in epochs.SIZES.values() if size <= images}
    lengths = {name for name in epochs.DECAYED if name not in epochs.SIZES}
    assert set(asked) - set(epochs.SIZES) == {"constant", *lengths}
    others = set(preset.questions) - {"epochs"}
    assert all(preset.questions[name] == PRESETS["full"].questions[name] for name in others)


def test_a_small_data_set_of_ones_own_declares_the_sizes_it_has(small: Split) -> None:
    """`small` has 1,000 training images: of the sizes, only the least."""
    preset = PRESETS["full"].on_images(len(small.train_y))
    setting = Setting("own", "data", "cpu", "float32")
    declared = declare(preset, pick_noise_types("preset", preset), 0.5, small, setting)
    question = next(one for one in declared.questions if one.name == "epochs")
    asked = {contrast.recipe for contrast in question.contrasts}
    assert asked & set(epochs.SIZES) == {"images-1000"}


def test_the_gap_is_asked_over_decayed_trainings() -> None:
    """Each has its own schedule down to 0, on all images; one of them is also a size."""
    decayed = {
        recipe.epochs: recipe
        for recipe in PRESETS["full"].questions["epochs"]
        if recipe.name in epochs.DECAYED
    }
    assert set(decayed) == {3, 10, 20, 40, 80} == set(epochs.DECAYED.values())
    settings = {replace(recipe, name="", epochs=0) for recipe in decayed.values()}
    assert settings == {replace(LONG, name="", epochs=0)}
    assert LONG.learning_rate_at(1.0) == 0


def test_a_declaration_tells_which_types_know_images(parts: Split) -> None:
    """What is known of old is not declared, so that ids stay; any other type is, a composition as
    its parts are."""
    know = {name for name in (*NOISE, *UNSEARCHED) if noise_type(name).knows_images}
    assert know >= IMAGE_TYPES
    assert with_input(InputDropout, scheduled(early, Shift)).knows_images
    assert not with_input(InputDropout, Dropout).knows_images
    setting = Setting("fashion-mnist", "data", "cpu", "float32")
    own = f"{__name__}:OwnShift"
    contest = declare(PRESETS["contest"], tuple(NOISE), 0.5, parts, setting)
    assert contest.image_types & {*NOISE} == know & {*NOISE}
    declared = declare(PRESETS["smoke"], ("none", "dropout", "shift", own), 0.5, parts, setting)
    assert declared.search_space["image_types"] == [own]
    assert declared.image_types == {*IMAGE_TYPES, own}


class OwnShift(Shift):
    """A type from outside that knows images."""
