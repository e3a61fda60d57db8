"""Types of the command line's options, where click has none that says the same.

`mlflow run` hands all parameters over as text, so some options take a word for "none given".
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import click

from analysis.formatting import shortened
from models.download import DATASETS, IN_FOLDER

LONGEST = 4096
"""Characters of a text; Linux allows a path as many."""
LONGEST_EXPERIMENT = 256
"""Characters of an experiment's name that fit its column in MLflow's databases."""
NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories of what breaks a line or cannot be encoded."""
SCHEDULER = re.compile(
    r"(?:tcp|tls|ws|wss)://(?:[\w.-]+|\[[0-9a-f:.]+\]):(\d{1,5})", re.ASCII | re.IGNORECASE
)


class WordOr(click.ParamType):
    """Another type, or a word that means None."""

    def __init__(self, word: str, inner: click.ParamType) -> None:
        """Take `word` beside the values of `inner`."""
        self.name = inner.name
        self._word = word
        self._inner = inner

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or value == self._word:
            return None
        try:
            return self._inner.convert(value, param, ctx)
        except click.BadParameter as error:
            reason = error.message.rstrip(".")
            self.fail(f"{reason}; or give the word {self._word}", param, ctx)


class Rate(click.FloatRange):
    """A finite number of a range, without a sign of zero."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number + 0.0


class Parsed(click.ParamType):
    """A text that a parser takes; the parser raises ValueError with what it must be."""

    def __init__(self, name: str, parse: Callable[[str], str]) -> None:
        """Show `name` in --help."""
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(f"it must be {error}, not {shortened(str(value))!r}", param, ctx)


def text(meaning: str, longest: int = LONGEST) -> Parsed:
    """Return the type of a text that fits in one line of a message, and in every store."""
    return Parsed("text", lambda value: plain_text(value, meaning, longest))


def plain_text(value: str, meaning: str, longest: int = LONGEST) -> str:
    """Return the text; ValueError if it is blank or too long, or would break a line."""
    breaks_line = any(unicodedata.category(character) in NO_TEXT for character in value)
    if not value.strip() or len(value) > longest or breaks_line:
        raise ValueError(
            f"{meaning}: 1 to {longest} characters, not all blank, and no line breaks among them"
        )
    return value


def folder(meaning: str) -> Parsed:
    """Return the type of a folder's path; a tilde is the home folder."""
    return Parsed("folder", lambda value: os.path.expanduser(plain_text(value, meaning)))


def scheduler_address(value: str) -> str:
    """Return the address of a Dask scheduler; ValueError for any other text."""
    match = SCHEDULER.fullmatch(value)
    if not (match and 0 < int(match[1]) < 2**16):
        raise ValueError("an address such as tcp://host:8786")
    return value


def sqlite_address_or_report(value: str) -> str:
    """Return the address of a sqlite file, or a report's folder; ValueError for any other text."""
    meaning = "the address of a sqlite file, such as sqlite:///other.db, or a report's folder"
    if re.match(r"sqlite:///(?!:memory:)[^?#]", plain_text(value, meaning)):
        return value
    folder = os.path.expanduser(value)
    if not os.path.isdir(folder):
        raise ValueError(meaning)
    return folder


def study_id(value: str) -> str:
    """Return the id of a study; ValueError for any other text."""
    if not re.fullmatch("[0-9a-f]{12}", value):
        raise ValueError("a study's id, 12 hexadecimal digits")
    return value


def dataset_name(value: str) -> str:
    """Return the name of a data set, or "path:" and a folder; ValueError for any other text."""
    if value in DATASETS:
        return value
    if not value.startswith(IN_FOLDER):
        raise ValueError(f"one of {', '.join(DATASETS)}, or {IN_FOLDER}FOLDER")
    path = plain_text(value.removeprefix(IN_FOLDER), f"{IN_FOLDER} and a folder")
    return f"{IN_FOLDER}{os.path.expanduser(path)}"
