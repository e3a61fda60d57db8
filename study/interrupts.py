"""Ctrl-C and SIGTERM while a study runs: remembered, and asked for at every turn.

An exception raised by a signal is dropped when it strikes inside a destructor or a callback of a library, and cuts a
trial's logging in two when it strikes there. So the first signal only asks the study to stop; a second one raises.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

KEPT = "finished trials are kept: the same command goes on from them"
"""What is told of a study that ends before its end."""

_asked = threading.Event()


@contextmanager
def remembered() -> Iterator[None]:
    """Within, SIGINT and SIGTERM are remembered for `check`; a second one raises KeyboardInterrupt at once."""
    _asked.clear()
    before = {number: signal.signal(number, _remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Raises KeyboardInterrupt if a signal has come."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    if _asked.is_set():
        raise KeyboardInterrupt
    _asked.set()
