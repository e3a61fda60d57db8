"""What may stand for a value on the command line: each option has one of these types, each text one meaning.

`mlflow run` hands all parameters over as text. A parser takes a text and raises ValueError with what it must be.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from typing import Any, TypeVar

import click

T = TypeVar("T")

LONGEST = 4096
"""Characters of a text; what Linux allows a path."""
LONGEST_EXPERIMENT = 256
"""Characters of an experiment's name: MLflow takes 500, but its column in a database 256."""
LONGEST_PATIENCE = 7 * 24 * 60 * 60
"""Seconds that a tracking store may be waited for: a week."""
NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode's categories of what breaks a line, or cannot be encoded: control characters, surrogates, separators."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
WHOLE = re.compile(r"\d{1,12}", re.ASCII)
SCHEDULER = re.compile(
    r"(tcp|tls|ws|wss)://([\w.-]+|\[[0-9a-f:.]+\]):(\d{1,5})", re.ASCII | re.IGNORECASE
)
STUDY_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)


class Value(click.ParamType):
    """An option's type, made of a parser; a word of its own, such as "preset", means None."""

    def __init__(self, name: str, parse: Callable[[str], Any], word: str = "") -> None:
        """`name` is shown by --help."""
        self.name, self._parse, self._word = name, parse, word

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the text means; a click.BadParameter when it means nothing."""
        if self._word and value == self._word:
            return None
        try:
            return self._parse(str(value))
        except ValueError as error:
            choice = f"{self._word}, or " if self._word else ""
            self.fail(f"it must be {choice}{error}, not {shown(str(value))}", param, ctx)


def text(what: str, longest: int = LONGEST) -> Value:
    """The type of a text that fits in one line of a message, and in every store."""

    return Value("text", lambda value: plain_text(value, what, longest))


def whole(low: int, high: int, word: str = "") -> Value:
    """The type of a whole number."""
    return Value("whole number", lambda value: whole_number(value, low, high), word)


def number(low: float, high: float) -> Value:
    """The type of a number that may have a fraction."""
    return Value("number", lambda value: decimal_number(value, low, high))


def plain_text(value: str, what: str, longest: int = LONGEST) -> str:
    """A text that fits in one line.

    Raises:
        ValueError: it is empty, blank or too long, or would break a line.
    """
    if (
        not value.strip()
        or len(value) > longest
        or any(unicodedata.category(one) in NO_TEXT for one in value)
    ):
        raise ValueError(
            f"{what}: 1 to {longest} characters, not all blank, and no line breaks among them"
        )
    return value


def whole_number(value: str, low: int, high: int) -> int:
    """The number that up to twelve of the digits 0 to 9 mean; no sign, blank or underscore.

    Raises:
        ValueError: anything else, or a number outside the bounds.
    """
    if not (WHOLE.fullmatch(value) and low <= int(value) <= high):
        raise ValueError(f"a whole number from {low} to {high}")
    return int(value)


def decimal_number(value: str, low: float, high: float) -> float:
    """The number that digits 0 to 9 mean, with sign, point and exponent where wanted; -0 is 0.

    Raises:
        ValueError: anything else, nan and infinity too, or a number outside the bounds.
    """
    if not (NUMBER.fullmatch(value) and low <= float(value) <= high):
        raise ValueError(f"a number from {low:g} to {high:g}")
    return float(value) + 0.0  # which makes a zero of both signs the one


def scheduler_address(value: str) -> str:
    """The address of a Dask scheduler.

    Raises:
        ValueError: it is none.
    """
    found = SCHEDULER.fullmatch(value)
    if not (found and 0 < int(found[3]) < 2**16):
        raise ValueError("an address such as tcp://host:8786")
    return value


def study_id(value: str) -> str:
    """The id of a study.

    Raises:
        ValueError: it is none.
    """
    if not STUDY_ID.fullmatch(value):
        raise ValueError("a study's id, 12 hexadecimal digits")
    return value


def patience() -> float:
    """The seconds that a tracking store which is away is waited for, as the environment has it.

    Raises:
        ValueError: it has something else there.
    """
    value = os.environ.get("DROPOUT_STUDY_PATIENCE", "180")
    try:
        return decimal_number(value, 0, LONGEST_PATIENCE)
    except ValueError as error:
        raise ValueError(f"DROPOUT_STUDY_PATIENCE must be {error}, not {shown(value)}") from None


def shown(value: str) -> str:
    """A value as a message quotes it: in one line, cut where it is long."""
    return repr(cut(value))


def cut(value: str) -> str:
    """A text, cut where it is too long to be read in a message."""
    return value if len(value) <= 60 else f"{value[:57]}..."
