"""The answers: every module here answers the declared question of its name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

import pandas as pd

from analysis.answers import Answer
from study.schema import Question

QUESTIONS: dict[str, Callable[[Question, pd.DataFrame, dict[str, dict[str, str]]], Answer]] = {
    module.name.replace("_", "-"): import_module(f"{__name__}.{module.name}").answer
    for module in iter_modules(__path__)
}
