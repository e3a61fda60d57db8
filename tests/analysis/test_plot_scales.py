"""The axes and colours of differences: one far off the scale stands aside as an arrow and its
number, and what is negligible looks equivalent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.plots import forest, style
from analysis.schema import CONFIRM, RUN_TABLE
from analysis.stats.verdicts import VERDICTS, answer_contrasts, tone

SEEDS = tuple(range(100, 108))


def swap_figure(*effects: float) -> Figure:
    """Draw the question of the three pairs, the first arm of each so many points above its
    mirror."""
    question = synthetic.declaration(SEEDS).questions[0]
    spread = np.linspace(-4e-4, 4e-4, len(SEEDS))  # its mean is 0
    rows = []
    arms = {}
    for contrast, effect in zip(question.contrasts, 2 * effects, strict=True):
        for label, _, coefficient in contrast.terms:
            arms[label] = f"{label} arm"
            for seed, chance in zip(SEEDS, spread, strict=True):
                gain = effect / 100 + chance if coefficient > 0 else 0.0
                scores = {"test/accuracy": 0.8 + gain, "test/loss": 0.5 - gain / 40}
                rows.append({"arm": arms[label], "seed": seed, "phase": CONFIRM, **scores})
    constant = {"noise": "dropout", "seconds": 1.0}
    table = pd.DataFrame(rows).assign(**constant).groupby(["arm", "seed"], as_index=False).first()
    table["run_id"] = [f"run{number}" for number in range(len(table))]
    table = table.reindex(columns=list(RUN_TABLE))
    of_recipe = {synthetic.RECIPE: arms}
    answered = answer_contrasts(question, table, of_recipe)
    return forest.question_figure(question, table, of_recipe, answered.contrasts)


def differences_in_accuracy(figure: Figure) -> Axes:
    return figure.axes[1]


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize(("far", "arrow"), [(5.25, "+5.25 ►"), (-5.25, "◄ −5.25")])
def test_one_difference_far_off_the_scale_does_not_squash_the_others(far, arrow):
    ax = differences_in_accuracy(swap_figure(0.1, -0.1, far))
    assert max(map(abs, ax.get_xlim())) < 2
    (shown,) = [text for text in texts(ax) if "►" in text or "◄" in text]
    assert shown == arrow
    means = [line for line in ax.lines if line.get_marker() == "D"]
    assert len(means) == 2


@pytest.mark.parametrize("effects", [(0.1, 0.3, -0.2), (5.0, 6.0, -4.0), (0.1, 5.0, 6.0)])
def test_nothing_stands_aside_where_none_is_alone(effects):
    ax = differences_in_accuracy(swap_figure(*effects))
    assert not [text for text in texts(ax) if "►" in text or "◄" in text]
    low, high = ax.get_xlim()
    assert all(low < effect < high for effect in effects)


def test_an_answer_beyond_the_margin_shows_margin_and_zero():
    low, high = differences_in_accuracy(swap_figure(0.9, 0.9, 0.9)).get_xlim()
    assert low < -0.2 and high > 0.9


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_negligible_difference_looks_equivalent(verdict):
    negligible = verdict == "equivalent" or verdict.endswith("negligible")
    same = style.verdict_colour(verdict) == style.verdict_colour("equivalent")
    assert same == negligible == (tone(verdict) == "equivalent")
    assert (style.verdict_colour(verdict) == style.GREY) == (tone(verdict) == "open")
