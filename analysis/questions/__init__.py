"""The questions: one file each, named as in study/designs. A new one is one file here and one line below."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from analysis.answer import Answer
from analysis.questions import additivity, audit, beat_dropout, dropconnect, epochs, swap, test_time, variance
from study.schema import Question

QUESTIONS: dict[str, Callable[[Question, pd.DataFrame, dict[str, dict[str, str]]], Answer]] = {
    "swap": swap.answer,
    "epochs": epochs.answer,
    "variance": variance.answer,
    "test-time": test_time.answer,
    "additivity": additivity.answer,
    "dropconnect": dropconnect.answer,
    "beat-dropout": beat_dropout.answer,
    "audit": audit.answer,
}
