"""How long a study waits for its tracking store, and what stops it through no fault of its own."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import tenacity
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from analysis.formatting import one_line, shortened
from analysis.store.uri import STORE_ERRORS, StoreAway, StoreError, address
from study import signals
from study.signals import KEPT

Method = TypeVar("Method", bound=Callable[..., Any])

LONGEST_PATIENCE = 7 * 24 * 60 * 60
REFUSED = {400, 401, 403, 404, 405, 409, 413}
FIRST_WAIT, LONGEST_WAIT = 1.0, 20.0


class CutShort(RuntimeError):
    """A study had to stop; its finished trials are kept, and the same command resumes it."""


class AlreadyRunning(RuntimeError):
    """Another live process coordinates the same study."""


def patience() -> float:
    """Return the seconds to wait for a store that does not answer, by DROPOUT_STUDY_PATIENCE.

    Raises:
        ValueError: the variable holds something else.
    """
    value = os.environ.get("DROPOUT_STUDY_PATIENCE", "180")
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_PATIENCE:
        raise ValueError(
            f"DROPOUT_STUDY_PATIENCE must be a number from 0 to {LONGEST_PATIENCE}, not "
            f"{shortened(value)!r}"
        )
    return seconds


def patient(method: Method) -> Method:
    """Repeat a method, with longer and longer waits, while the tracking store fails it.

    Raises:
        CutShort: it failed for `patience()` seconds.
    """
    return tenacity.retry(  # type: ignore[return-value]
        retry=tenacity.retry_if_exception(_is_temporary),
        wait=tenacity.wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
        stop=_out_of_patience,
        sleep=_pause,
        retry_error_callback=_cut_short,
    )(method)


def _out_of_patience(state: tenacity.RetryCallState) -> bool:
    passed = state.seconds_since_start or 0.0
    return passed + state.upcoming_sleep > patience()


def _cut_short(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    assert error is not None
    store = "" if isinstance(error, StoreError) else f"tracking store {address()}: "
    raise CutShort(f"{store}{one_line(error)}; {KEPT}") from error


def _is_temporary(error: BaseException) -> bool:
    return isinstance(error, STORE_ERRORS) and not is_permanent(error)


def is_permanent(error: BaseException) -> bool:
    """Return True for errors that a retry cannot help: request rejected, data corrupt."""
    if isinstance(error, StoreError) and not isinstance(error, StoreAway):
        return True
    cause = error.__cause__ if isinstance(error, StoreAway) else error
    if not isinstance(cause, MlflowException):
        return False
    from_database = isinstance(cause.__cause__, SQLAlchemyError)  # MLflow tells it as a 400
    return cause.get_http_status_code() in REFUSED and not from_database


def _pause(seconds: float) -> None:
    """Sleep, unless the study is asked to stop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        signals.check()
        time.sleep(0.1)
