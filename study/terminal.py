"""What a terminal is given and a log is spared."""

from __future__ import annotations

import os
from typing import TextIO

import click


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks on, at something that can write a line anew."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO) -> str:
    """The text in a colour, but for a log, or where NO_COLOR is set (https://no-color.org)."""
    wanted = is_terminal(stream) and not os.environ.get("NO_COLOR")
    return click.style(text, fg=colour) if wanted else text
