"""The questions, one file each: above what is declared before the first run, below the answer."""

from __future__ import annotations

from typing import Protocol

import pandas as pd

from analysis.questions import (
    activation_variance,
    additivity,
    audit,
    beat_dropout,
    dropconnect,
    epochs,
    ingredients,
    noisy_inference,
    swap,
)
from analysis.questions.base import Design
from analysis.schema import Question
from analysis.stats.results import Answer


class QuestionModule(Protocol):
    """A module of this package that holds a question."""

    DESIGN: Design

    def answer(
        self, question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]
    ) -> Answer:
        """Answer the declared question from the run table and recipe -> label -> arm name."""


QUESTIONS: dict[str, QuestionModule] = {
    "swap": swap,
    "epochs": epochs,
    "variance": activation_variance,
    "test-time": noisy_inference,
    "additivity": additivity,
    "dropconnect": dropconnect,
    "beat-dropout": beat_dropout,
    "ingredients": ingredients,
    "audit": audit,
}
"""Every question by its name, in the order of the exercises and of a report."""

DESIGNS: dict[str, Design] = {name: module.DESIGN for name, module in QUESTIONS.items()}


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """Answer a declared question from the run table and recipe -> label -> arm name.

    Raises:
        StoreError: only another version of this code knows the question.
    """
    from analysis.store.uri import StoreError  # imports MLflow, which declaring does without

    if question.name not in QUESTIONS:
        raise StoreError(
            f"the study asks {question.name!r}, a question that this version does not know: read "
            "the study with the commit that ran it, which its study run names"
        )
    return QUESTIONS[question.name].answer(question, table, arms)
