"""What stops a study midway through no fault of its own, and how long it waits before it gives up."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from analysis.formatting import one_line
from analysis.store.uri import STORE_ERRORS, StoreAway, StoreError, address
from study import signals
from study.commands import param_types
from study.signals import KEPT

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

PATIENCE_SECONDS = param_types.patience()
"""So long a study waits for a tracking store that is away, locked or full."""
REFUSED = {400, 401, 403, 404, 405, 409, 413}
FIRST_WAIT, LONGEST_WAIT = 1.0, 20.0


class CutShort(RuntimeError):
    """A study had to stop; its finished trials are in the store, and the same command goes on from them."""


class AlreadyRunning(RuntimeError):
    """Another live process coordinates the same study."""


def patient(action: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method that is tried again, with longer and longer waits, while the tracking store fails it.

    Raises:
        CutShort: it failed for `PATIENCE_SECONDS`.
    """

    @wraps(action)
    def tried(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        end, wait = time.monotonic() + PATIENCE_SECONDS, FIRST_WAIT
        while True:
            try:
                return action(self, *args, **kwargs)
            except STORE_ERRORS as error:
                if _is_final(error):
                    raise
                if time.monotonic() + wait > end:
                    where = "" if isinstance(error, StoreError) else f"tracking store {address()}: "
                    raise CutShort(f"{where}{one_line(error)}; {KEPT}") from error
            _pause(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    return tried


def _is_final(error: Exception) -> bool:
    """Whether the store has understood, and says no, or what it keeps is damaged: asking again would change nothing."""
    if isinstance(error, StoreError) and not isinstance(error, StoreAway):
        return True
    cause = error.__cause__ if isinstance(error, StoreAway) else error
    of_database = isinstance(cause, MlflowException) and isinstance(
        cause.__cause__, SQLAlchemyError
    )  # told as a 400
    return (
        isinstance(cause, MlflowException)
        and cause.get_http_status_code() in REFUSED
        and not of_database
    )


def _pause(seconds: float) -> None:
    """Sleeps, but for a Ctrl-C."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        signals.check()
        time.sleep(0.1)
