"""Lines on standard error, and colours for a terminal."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO

import click

from analysis.formatting import redacted


def tell(text: str, end: str = "\n") -> None:
    """Write to standard error, without secrets; a full disk or a closed pipe ends nothing else."""
    with suppress(OSError, ValueError):  # ValueError: it is closed
        if sys.stderr is not None:
            sys.stderr.write(f"{redacted(text)}{end}")
            sys.stderr.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Return True for a terminal that can rewrite a line."""
    if stream is None or stream.closed:
        return False
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None) -> str:
    """Colour a text, but not for a log or where NO_COLOR is set (https://no-color.org)."""
    wanted = is_terminal(stream) and not os.environ.get("NO_COLOR")
    return click.style(text, fg=colour) if wanted else text
