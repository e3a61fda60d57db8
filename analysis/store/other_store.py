"""Another store: a sqlite file that was brought here, as from a node without a network.

It is read from a copy, so that the file stays as it is, and the copy says where the artifacts are
now, which moved with the file.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from sqlalchemy import create_engine

from analysis import schema
from analysis.formatting import redacted, shortened
from analysis.store import reader, run_table
from analysis.store.uri import (
    OTHER_STORE,
    StoreError,
    inspect_database,
    local_path,
    one_line_errors,
    read_only,
    settle_address,
    sqlite_file,
)

ANOTHER = "or give --from another store"
OF_A_SERVER = "mlflow-artifacts"
"""Scheme of artifacts that an MLflow server keeps, in its folder `mlartifacts`."""


@dataclass(frozen=True)
class StoredRun:
    """A run, and its metrics at every step."""

    run: Run
    metrics: list[Metric]


@dataclass(frozen=True)
class StoredTrial:
    """All that is kept of a trial; `images` is empty unless it read test images."""

    trial: StoredRun
    seeds: list[StoredRun]
    images: bytes


@dataclass(frozen=True)
class OtherStore:
    """A study in another store, and a client of the copy; made by `opened`."""

    address: str
    study: reader.Study
    client: MlflowClient

    def read(self, trial_run: str) -> StoredTrial:
        """Return a trial that ended with all its seeds.

        Raises:
            StoreAway: the copy cannot be read any more.
        """
        with one_line_errors():
            trial = self.client.get_run(trial_run)
            children = f"tags.`{schema.TAG_PARENT}` = '{trial_run}'"
            seeds = reader.search(trial.info.experiment_id, children, self.client)
            ended = [run for run in seeds if run.info.status in ("FINISHED", "FAILED")]
            return StoredTrial(
                self._with_metrics(trial),
                [*map(self._with_metrics, ended)],
                self._images(trial_run),
            )

    def _with_metrics(self, run: Run) -> StoredRun:
        metrics: list[Metric] = []
        for name in run.data.metrics:
            if not name.startswith(run_table.OF_THE_MACHINE):
                metrics += self.client.get_metric_history(run.info.run_id, name)
        return StoredRun(run, metrics)

    def _images(self, trial_run: str) -> bytes:
        if schema.IMAGES_FILE not in (one.path for one in self.client.list_artifacts(trial_run)):
            return b""
        with tempfile.TemporaryDirectory() as folder:
            file = self.client.download_artifacts(trial_run, schema.IMAGES_FILE, folder)
            return Path(file).read_bytes()


@contextmanager
def opened(
    uri: str, study_id: str | None, experiment: str, artifacts: str | None
) -> Iterator[OtherStore]:
    """Read a study of another store; afterwards the tracking URI is again what it was.

    Args:
        uri: of a sqlite file.
        study_id: None takes the newest study.
        artifacts: folder that the artifacts are in; None looks where the store says, and beside
            the file.

    Raises:
        StoreError: the file, the study or an artifact is not there, is damaged, or is not of this
            project; or the file is the current store's own.
    """
    file, here, shown = sqlite_file(uri), settle_address(), redacted(uri)
    if file is None or not file.is_file():
        raise StoreError(f"no tracking store at {shown}: give --from the address of a sqlite file")
    own = sqlite_file(here)
    if own is not None and own.exists() and own.samefile(file):
        raise StoreError(f"{shown} is the tracking store itself: name another one, {OTHER_STORE}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "mlflow.db"
        address = f"sqlite:///{copy}"
        try:
            _copy(file, copy, shown)
            mlflow.set_tracking_uri(address)
            inspect_database(create_engine(address))
            _point_to_artifacts(copy, file, experiment, artifacts)
            study = reader.load(study_id, experiment, images=True)
            _check_images(study, shown)
        except StoreError as error:
            told = str(error).replace(address, shown).replace(OTHER_STORE, ANOTHER)
            raise StoreError(told) from error
        finally:
            mlflow.set_tracking_uri(here)
        yield OtherStore(shown, study, MlflowClient(address))


def _copy(file: Path, copy: Path, shown: str) -> None:
    """Copy a database that a process may be writing to.

    Raises:
        StoreError: it is none, is damaged, or holds nothing.
    """
    try:
        with closing(read_only(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            (finding,) = target.execute("pragma quick_check(1)").fetchone()
            tables = target.execute("select 1 from sqlite_master").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{shown} cannot be read ({error}): copy it again, {ANOTHER}") from error
    if finding != "ok":
        raise StoreError(f"{shown} is damaged ({shortened(finding)}): copy it again, {ANOTHER}")
    if tables is None:
        raise StoreError(f"{shown} is empty: it holds no study")


def _point_to_artifacts(copy: Path, file: Path, experiment: str, folder: str | None) -> None:
    """Write into the copy where the experiment's artifacts are now.

    Raises:
        StoreError: they are nowhere.
    """
    with closing(sqlite3.connect(copy)) as database, database:
        query = "select experiment_id, artifact_location from experiments where name = ?"
        number, location = database.execute(query, [experiment]).fetchone() or (None, "")
        rows = database.execute("select run_uuid from runs where experiment_id = ?", [number])
        run_ids = {run_id for (run_id,) in rows}
        recorded = _recorded(location)
        if not run_ids or recorded is None:  # the reader tells what is wrong, if anything is
            return
        root = Path(folder) if folder else file.resolve().parent
        length = len(recorded.parts)
        places = [root.joinpath(*recorded.parts[start:]) for start in range(1, 1 + length)]
        if not folder:
            places.insert(0, recorded)
        # The folder of an earlier store may be where this one says: the one of most runs is meant.
        place = max(places, key=lambda place: len(run_ids & _names_in(place)))
        if not run_ids & _names_in(place):
            where = folder or f"{recorded}, nor beside the file"
            raise StoreError(
                f"the artifacts of sqlite:///{copy} are not in {where}: copy its folder "
                f"{recorded.parent.name} too, and name it by --artifacts"
            )
        database.execute(
            "update runs set artifact_uri = ? || substr(artifact_uri, ?) where experiment_id = ? "
            "and substr(artifact_uri, 1, ?) = ?",
            [place.resolve().as_uri(), len(location) + 1, number, len(location), location],
        )


def _recorded(location: str) -> Path | None:
    """Return the folder that a store says its artifacts are in; None if that is no folder."""
    parts = urlsplit(location)
    if parts.scheme == OF_A_SERVER:
        return Path("/mlartifacts", parts.path.lstrip("/"))
    return local_path(location)


def _names_in(folder: Path) -> set[str]:
    with suppress(OSError):
        return {child.name for child in folder.iterdir()}
    return set()


def _check_images(study: reader.Study, shown: str) -> None:
    """Refuse a study that lacks the scores of single images.

    Raises:
        StoreError: not all artifacts were brought along; names a trial.
    """
    confirmed = study.table.loc[study.table["phase"] == schema.CONFIRM]
    columns = (confirmed["arm"], confirmed["seed"], confirmed["trial_run_id"])
    for arm, seed, trial_run in zip(*columns, strict=True):
        if arm not in study.images or seed not in study.images[arm].seeds:
            raise StoreError(
                f"trial run {trial_run} of {shown} has no {schema.IMAGES_FILE}: copy the folder of "
                "its artifacts as a whole, and name it by --artifacts"
            )
