"""The answers: every module here answers the declared question of its name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

import pandas as pd

from analysis.schema import Question
from analysis.stats.results import Answer
from analysis.store.uri import StoreError

QUESTIONS: dict[str, Callable[[Question, pd.DataFrame, dict[str, dict[str, str]]], Answer]] = {
    module.name.replace("_", "-"): import_module(f"{__name__}.{module.name}").answer
    for module in iter_modules(__path__)
    if module.name != "sentences"
}


def answer(question: Question, table: pd.DataFrame, arms: dict[str, dict[str, str]]) -> Answer:
    """The answer to a declared question: by the table of the runs, and recipe -> label -> arm.

    Raises:
        StoreError: a question that only another version of this code knows.
    """
    if question.name not in QUESTIONS:
        remedy = "read the study with the commit that ran it, which its study run names"
        raise StoreError(
            f"the study asks {question.name!r}, a question that this version does not know: {remedy}"
        )
    return QUESTIONS[question.name](question, table, arms)
