"""Which noise types go on to a later recipe, and which are run again at other learning rates."""

from __future__ import annotations

from analysis.questions.base import DROPOUT_ALONE
from analysis.questions.beat_dropout import at_other_rates
from models.config import Arm
from models.noise import NOISE
from study.presets import CLASSIC, SMALL
from study.runner import finalists

OF_IMAGES = ["shift", "warp+dropout", "shift+dropout", "warp", "shift+gaussian"]
ANY_INPUT = ["input-dropout+dropout", "gaussian", "swap", "mixup+dropout", "uniform"]


def tuned(*best_first: str) -> dict[str, Arm]:
    """Return tuned arms, dropout alone the best of them."""
    arms = {
        noise: Arm.of(noise, (0.2, 0.1, 0.1)[: len(NOISE[noise].rates)], 1e-4, SMALL)
        for noise in (*best_first, "dropout", "none")
    }
    return {DROPOUT_ALONE: arms["dropout"], **arms}


def test_half_of_the_finalists_come_from_each_class() -> None:
    ranked = tuned(*OF_IMAGES, *ANY_INPUT)
    chosen = finalists(tuple(NOISE), ranked, 8)
    assert set(chosen) == {"none", "dropout", *OF_IMAGES[:4], *ANY_INPUT[:4]}
    assert chosen == tuple(noise for noise in NOISE if noise in chosen)


def test_a_class_with_fewer_types_leaves_its_places_to_the_best() -> None:
    ranked = tuned("shift", *ANY_INPUT, "input-gaussian", "randomised-slope", "dropconnect")
    assert set(finalists((*CLASSIC, *ranked), ranked, 8)) == {
        *("none", "dropout", "shift", *ANY_INPUT, "input-gaussian", "randomised-slope")
    }
    few = tuned("shift", "gaussian")
    assert set(finalists(tuple(few), few, 8)) == {"none", "dropout", "shift", "gaussian"}


def test_the_best_two_of_each_class_are_run_at_other_learning_rates() -> None:
    arms = at_other_rates(tuned(*OF_IMAGES, *ANY_INPUT))
    again = {"none", "dropout", *OF_IMAGES[:2], *ANY_INPUT[:2]}
    assert {(arm.noise, arm.recipe.learning_rate) for arm in arms} == {
        (noise, rate) for noise in again for rate in (0.05, 0.2)
    }
