"""How far a study is, on standard error."""

from __future__ import annotations

import sys
import threading
import time

PLAIN_SECONDS, TERMINAL_SECONDS = 20.0, 0.5


class Progress:
    """Counts network-epochs of a known total; safe to call from the threads that train.

    A terminal gets one line that is rewritten, anything else plain lines, seldom.
    """

    def __init__(self, total: float) -> None:
        """`total` network-epochs are planned."""
        self._total, self._done, self._skipped = total, 0.0, 0.0
        self._start = self._shown = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._told: set[str] = set()

    def advance(self, network_epochs: float) -> None:
        """So much was trained."""
        with self._lock:
            self._done += network_epochs
            now = time.monotonic()
            if now - self._shown >= (TERMINAL_SECONDS if self._terminal else PLAIN_SECONDS):
                self._shown = now
                self._show(now)

    def skip(self, network_epochs: float) -> None:
        """So much was found finished."""
        with self._lock:
            self._skipped += network_epochs

    def tell(self, line: str) -> None:
        """A line beside the count, such as why a trial failed; nothing for an empty one or one told before."""
        with self._lock:
            if line and line not in self._told:
                self._told.add(line)
                sys.stderr.write(f"\n{line}\n" if self._terminal else f"{line}\n")

    def end(self) -> None:
        """Leaves the terminal on a fresh line."""
        if self._terminal:
            sys.stderr.write("\n")

    def _show(self, now: float) -> None:
        passed = now - self._start
        left = max(self._total - self._done - self._skipped, 0)
        share = 1 - left / self._total
        line = (
            f"{share:4.0%} trained, {passed / 60:.1f} min passed, about {passed * left / self._done / 60:.1f} min left"
        )
        sys.stderr.write(f"\r{line}" if self._terminal else f"{line}\n")
        sys.stderr.flush()
