"""The questions: one file each, named as in study/designs. A new one is one file here and one line below."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from analysis.answer import Answer
from analysis.questions import additivity, beat_dropout, swap
from study.schema import Question

QUESTIONS: dict[str, Callable[[Question, pd.DataFrame, dict[str, dict[str, str]]], Answer]] = {
    "swap": swap.answer,
    "additivity": additivity.answer,
    "beat-dropout": beat_dropout.answer,
}
