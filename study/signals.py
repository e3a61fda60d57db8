"""Ctrl-C, SIGTERM and the terminal's end while a study runs: remembered, and asked for.

An exception raised by a signal is dropped when it strikes inside a destructor or a callback of a
library, and cuts a trial's logging in two when it strikes there. So the first signal only asks the
study to stop; a second one raises.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

KEPT = "finished trials are kept: the same command goes on from them"
"""What is told of a study that ends before its end."""

HANGUP: int = getattr(signal, "SIGHUP", 0)
"""What a process gets whose terminal is gone, as when ssh breaks off; Windows has none: 0."""

_asked = threading.Event()


@contextmanager
def remembered() -> Iterator[None]:
    """Remember what stops a study for `check`; a second signal raises KeyboardInterrupt."""
    _asked.clear()
    before = {number: signal.signal(number, _remember) for number in (signal.SIGINT, *_others())}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def heed() -> None:
    """Let SIGTERM and the terminal's end raise KeyboardInterrupt as Ctrl-C does."""
    for number in _others():
        signal.signal(number, signal.default_int_handler)


def _others() -> list[int]:
    """Return the signals that stop a study beside Ctrl-C; the terminal's end does not under
    `nohup`, which has it ignored."""
    heard = HANGUP != 0 and signal.getsignal(HANGUP) != signal.SIG_IGN
    return [signal.SIGTERM, *([HANGUP] if heard else [])]


def check() -> None:
    """Raise KeyboardInterrupt if a signal has come."""
    if _asked.is_set():
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    if _asked.is_set() and number != HANGUP:  # of that, shell and system each send one
        raise KeyboardInterrupt
    _asked.set()
