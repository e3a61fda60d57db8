"""The address of the tracking store: does it answer, and what to say when it does not."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, url2pathname

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError


class StoreError(RuntimeError):
    """The tracking store cannot give what was asked for; the message is one line for the user."""


def address() -> str:
    """The tracking URI without a user's name and password."""
    uri = mlflow.get_tracking_uri()
    return uri.replace(urlsplit(uri).netloc.rpartition("@")[0] + "@", "") if "@" in urlsplit(uri).netloc else uri


def check_address() -> None:
    """Fail at once where MLflow would create an empty database, or try again for minutes.

    Raises:
        StoreError: the file does not exist, or nobody listens at the host and port.
    """
    uri = mlflow.get_tracking_uri()
    parts = urlsplit(uri)
    if parts.scheme in ("", "file") or parts.scheme.startswith("sqlite"):
        # sqlite:///relative.db and sqlite:////absolute.db: one slash belongs to the address, not to the path.
        path = parts.path.removeprefix("/") if parts.scheme.startswith("sqlite") else url2pathname(parts.path)
        if path and not Path(path).exists():
            raise StoreError(f"no tracking store at {uri}")
    elif parts.hostname and not (parts.scheme.startswith("http") and getproxies()):
        ports = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
        try:
            port = parts.port or ports.get(parts.scheme.partition("+")[0])
            if port:
                socket.create_connection((parts.hostname, port), timeout=10).close()
        except (OSError, ValueError) as error:  # ValueError: the port is no port number
            raise StoreError(f"the tracking store {address()} does not answer: {error}") from error


STORE_ERRORS = (StoreError, MlflowException, SQLAlchemyError, OSError)
"""What a tracking store that is away, locked, full or broken makes MLflow's client and the reader raise."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What MLflow or its database raises becomes a StoreError of one line that names the store."""
    try:
        yield
    except STORE_ERRORS[1:] as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StoreError(f"the tracking store {address()} cannot be read: {reason}") from error
