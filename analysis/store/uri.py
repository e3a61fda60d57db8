"""The address of the tracking store: does it answer, and what to say when it does not."""

from __future__ import annotations

import shlex
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
from sqlalchemy import Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from analysis.formatting import one_line, redacted

OTHER_STORE = "or set MLFLOW_TRACKING_URI to another store"
UNAUTHORIZED = 401
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


class StoreError(RuntimeError):
    """The tracking store cannot give what was asked for; the message is one line for the user."""


class StoreAway(StoreError):
    """The tracking store does not answer, or not with what it keeps: later it may."""


def address() -> str:
    """Return the tracking URI without its secrets."""
    scheme, separator, rest = mlflow.get_tracking_uri().partition("://")
    return redacted(f"{scheme}{separator}{rest.rpartition('@')[2]}")


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a sqlite address, decoded as SQLAlchemy does; None for any other."""
    if not uri.startswith("sqlite"):
        return None
    database = make_url(uri).database
    return Path(database) if database and database != ":memory:" else None


def local_path(uri: str) -> Path | None:
    """Return the local folder that an artifact address names; None for one that is elsewhere.

    MLflow decodes a plain path too: it keeps the artifacts of `my%20project` in `my project`.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(url2pathname(uri)) if not parts.scheme else None


def settle_address() -> str:
    """Return the tracking URI; of a local database, its path as it is.

    MLflow's default is percent-encoded, which SQLAlchemy decodes, while MLflow makes the encoded
    folder beside the right one.

    Raises:
        StoreError: the address cannot be parsed.
    """
    uri = mlflow.get_tracking_uri()
    try:
        urlsplit(uri)
    except ValueError as error:
        raise StoreError(
            "the tracking address cannot be parsed: write a bracket in a user name or password as "
            "%5B or %5D"
        ) from error
    file = sqlite_file(uri)
    if file is not None and "%" in uri:
        here = Path.cwd()
        paths = [file, *([file.relative_to(here)] if file.is_relative_to(here) else [])]
        plain = [path for path in paths if not set("%?#") & set(str(path))]
        if plain:  # else it must stay encoded
            mlflow.set_tracking_uri(f"{uri.partition(':')[0]}:///{plain[0]}")
    return mlflow.get_tracking_uri()


def check_address() -> None:
    """Fail at once where MLflow would create an empty database, or try again for minutes.

    Raises:
        StoreError: the address cannot be parsed, its file does not exist, or nobody listens at the
            host and port.
    """
    uri = settle_address()
    parts = urlsplit(uri)
    file = sqlite_file(uri) or local_path(uri)
    if file is not None:
        if not file.exists():
            raise StoreError(
                f"no tracking store at {address()}: make study makes one, or name another by "
                "MLFLOW_TRACKING_URI"
            )
    elif parts.hostname and not (parts.scheme.startswith("http") and getproxies()):
        try:
            port = parts.port or PORTS.get(parts.scheme.partition("+")[0])
            if port:
                socket.create_connection((parts.hostname, port), timeout=10).close()
        except (OSError, ValueError) as error:  # ValueError: the port is no port number
            raise StoreAway(
                f"the tracking store {address()} does not answer: {one_line(error)}"
            ) from error


def check_writable() -> None:
    """Fail at once where a study could not write: MLflow would try again for minutes.

    A sqlite database that does not exist is none of its concern: the study makes it.

    Raises:
        StoreError: as `check_address`, or the file or its folder cannot be written to.
    """
    file = sqlite_file(settle_address())
    if file is None:
        check_address()
        return
    try:
        with tempfile.TemporaryFile(dir=file.parent):
            pass
        if file.exists():
            file.open("r+b").close()
    except OSError as error:
        raise StoreError(
            f"{file} cannot be written to ({error.strerror}): change its rights, {OTHER_STORE}"
        ) from error


def inspect_store() -> str:
    """Tell in words what there is at the tracking address; nothing is made there.

    Raises:
        StoreError: a study could not keep its runs there; the message says what to do.
    """
    uri = settle_address()
    scheme, file = urlsplit(uri).scheme, sqlite_file(uri)
    if scheme.startswith("http"):
        try:
            check_address()
        except StoreError as error:
            raise StoreError(f"{error}; start one by `mlflow server`, {OTHER_STORE}") from error
    else:
        check_writable()
    if file is not None:
        if not file.exists() or not file.stat().st_size:
            return f"{address()} will be made by the first study"
        return inspect_database(create_engine("sqlite://", creator=partial(read_only, file)))
    with one_line_errors():
        if "sql" in scheme:
            return inspect_database(create_engine(uri))
        mlflow.MlflowClient(uri).search_experiments(max_results=1)
    return f"{address()} answers"


def read_only(file: Path) -> sqlite3.Connection:
    """Open a sqlite file, and leave nothing behind beside it."""
    # A log beside the file is of a process that writes; without one, opening it as usual would
    # leave files behind.
    mode = "mode=ro" if Path(f"{file}-wal").exists() else "immutable=1"
    return sqlite3.connect(f"{file.resolve().as_uri()}?{mode}", uri=True)


def inspect_database(engine: Engine) -> str:
    """Tell whether a database is MLflow's, and of the version that is installed.

    Raises:
        StoreError: it is not.
    """
    # Public only as what refuses to start.
    from mlflow.store.db.utils import _get_latest_schema_revision

    versions = []
    try:
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            if "alembic_version" in tables:
                query = text("select version_num from alembic_version")
                versions = list(connection.execute(query).scalars())
    except SQLAlchemyError as error:
        reason = one_line(error.__cause__ or error)
        raise StoreError(
            f"{address()} cannot be read ({reason}): move it out of the way, {OTHER_STORE}"
        ) from error
    finally:
        engine.dispose()
    if not tables:
        return f"{address()} is empty: the first study fills it"
    if "experiments" not in tables:
        raise StoreError(
            f"{address()} is a database of something else than MLflow: name another file, "
            f"{OTHER_STORE}"
        )
    if versions != [_get_latest_schema_revision()]:
        remedy = f"upgrade a copy by `mlflow db upgrade {shlex.quote(address())}`"
        raise StoreError(
            f"{address()} was made by another version of MLflow: {remedy}, {OTHER_STORE}"
        )
    return f"{address()} is a store of MLflow's"


STORE_ERRORS = (StoreError, MlflowException, SQLAlchemyError, OSError)
"""What MLflow's client and the reader raise for a store that is away, locked, full or broken."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors of MLflow or its database into a StoreAway of one line that names the store."""
    try:
        yield
    except ImportError as error:
        raise StoreError(
            f"the tracking store {address()} needs a driver that is not installed: python -m pip "
            f"install {error.name}"
        ) from error
    except STORE_ERRORS[1:] as error:
        login = ""
        if isinstance(error, MlflowException) and error.get_http_status_code() == UNAUTHORIZED:
            login = "; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise StoreAway(
            f"the tracking store {address()} cannot be read: {one_line(error)}{login}"
        ) from error
