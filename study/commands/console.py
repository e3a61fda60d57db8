"""What a terminal is given and a log is spared."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

import click


def tell(text: str, end: str = "\n") -> None:
    """Writes to standard error; one that cannot be written, on a full disk or a closed pipe, ends nothing else."""
    with suppress(OSError, ValueError):  # ValueError: it is closed
        if sys.stderr is not None:  # as where a shell closed it
            sys.stderr.write(f"{text}{end}")
            sys.stderr.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks on, at something that can write a line anew."""
    if stream is None or stream.closed:
        return False
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None) -> str:
    """The text in a colour, but for a log, or where NO_COLOR is set (https://no-color.org)."""
    wanted = is_terminal(stream) and not os.environ.get("NO_COLOR")
    return click.style(text, fg=colour) if wanted else text
