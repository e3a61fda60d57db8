"""The address of the tracking store: does it answer, and what to say when it does not."""

from __future__ import annotations

import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, url2pathname

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from analysis.formatting import one_line


class StoreError(RuntimeError):
    """The tracking store cannot give what was asked for; the message is one line for the user."""


class StoreAway(StoreError):
    """The tracking store does not answer, or not with what it keeps: later it may."""


def address() -> str:
    """The tracking URI without a user's name and password."""
    uri = mlflow.get_tracking_uri()
    return (
        uri.replace(urlsplit(uri).netloc.rpartition("@")[0] + "@", "")
        if "@" in urlsplit(uri).netloc
        else uri
    )


def check_address() -> None:
    """Fail at once where MLflow would create an empty database, or try again for minutes.

    Raises:
        StoreError: the file does not exist, or nobody listens at the host and port.
    """
    uri = mlflow.get_tracking_uri()
    parts = urlsplit(uri)
    if parts.scheme in ("", "file") or parts.scheme.startswith("sqlite"):
        # sqlite:///relative.db and sqlite:////absolute.db: one slash belongs to the address, not to
        # the path.
        path = (
            parts.path.removeprefix("/")
            if parts.scheme.startswith("sqlite")
            else url2pathname(parts.path)
        )
        if path and not Path(path).exists():
            raise StoreError(f"no tracking store at {uri}")
    elif parts.hostname and not (parts.scheme.startswith("http") and getproxies()):
        ports = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
        try:
            port = parts.port or ports.get(parts.scheme.partition("+")[0])
            if port:
                socket.create_connection((parts.hostname, port), timeout=10).close()
        except (OSError, ValueError) as error:  # ValueError: the port is no port number
            raise StoreAway(f"the tracking store {address()} does not answer: {error}") from error


def inspect_store() -> str:
    """Tell in words what there is at the tracking address, by reading alone, so that nothing is
    made there.

    Raises:
        StoreError: a study could not keep its runs there; the message says what to do.
    """
    uri, other = mlflow.get_tracking_uri(), "or set MLFLOW_TRACKING_URI to another store"
    scheme = urlsplit(uri).scheme
    if scheme.startswith("http"):
        try:
            check_address()
            with one_line_errors():
                mlflow.MlflowClient(uri).search_experiments(max_results=1)
        except StoreError as error:
            raise StoreError(f"{error}; start one by `mlflow server`, {other}") from error
        return f"{address()} answers"
    if not scheme.startswith("sqlite"):
        if "://" in uri and scheme != "file":
            check_address()
        return (
            _inspect_database(create_engine(uri), other)
            if "sql" in scheme
            else f"{address()} (not looked into)"
        )
    path = Path(urlsplit(uri).path.removeprefix("/"))
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists():
            path.open("r+b").close()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written to ({error.strerror}): change its rights, {other}"
        ) from error
    if not path.exists() or not path.stat().st_size:
        return f"{uri} will be made by the first study"
    # A log beside the file is of a process that writes; without one, opening it as usual would
    # leave files behind.
    mode = "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"
    read = partial(sqlite3.connect, f"{path.resolve().as_uri()}?{mode}", uri=True)
    return _inspect_database(create_engine("sqlite://", creator=read), other)


def _inspect_database(engine: Engine, other: str) -> str:
    """Tell whether a database is MLflow's, and of the version that is installed."""
    from mlflow.store.db.utils import (
        _get_latest_schema_revision,
    )  # public only as what refuses to start

    try:
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            found = (
                connection.execute(text("select version_num from alembic_version")).scalars().all()
                if ("alembic_version" in tables)
                else []
            )
    except SQLAlchemyError as error:
        reason = one_line(error.__cause__ or error)
        raise StoreError(
            f"{address()} cannot be read ({reason}): move it out of the way, {other}"
        ) from error
    finally:
        engine.dispose()
    if tables and "experiments" not in tables:
        raise StoreError(
            f"{address()} is a database of something else than MLflow: name another file, {other}"
        )
    if tables and found != [_get_latest_schema_revision()]:
        remedy = f"upgrade a copy by `mlflow db upgrade {address()}`"
        raise StoreError(f"{address()} was made by another version of MLflow: {remedy}, {other}")
    return (
        f"{address()} is a store of MLflow's"
        if tables
        else f"{address()} is empty: the first study fills it"
    )


STORE_ERRORS = (StoreError, MlflowException, SQLAlchemyError, OSError)
"""What a tracking store that is away, locked, full or broken makes MLflow's client and the reader
raise."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors of MLflow or its database into a StoreAway of one line that names the store."""
    try:
        yield
    except STORE_ERRORS[1:] as error:
        raise StoreAway(
            f"the tracking store {address()} cannot be read: {one_line(error)}"
        ) from error
