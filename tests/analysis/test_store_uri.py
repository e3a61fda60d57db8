"""The tracking address: its secrets stay secret, and what is wrong with it is said in a line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import quote

import mlflow
import pytest
import synthetic
from mlflow import MlflowClient

from analysis import schema
from analysis.formatting import one_line, redacted
from analysis.store import reader, uri
from analysis.store.uri import StoreError

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-s3cret"
ADDRESSES = [
    f"http://alice:{SECRET}@127.0.0.1:9",
    f"https://{SECRET}@127.0.0.1:9/mlflow",
    f"postgresql://alice:{SECRET}@127.0.0.1:9/db",
    f"postgresql+psycopg://alice:a/{SECRET}@127.0.0.1:9/db",
    f"postgresql://alice:x@{SECRET}@127.0.0.1:9/db",
    f"postgresql://127.0.0.1:9/db?user=me&password={SECRET}",
    f"mysql+pymysql://127.0.0.1:9/db?ssl_key={SECRET}&charset=utf8",
    f"mssql+pyodbc://127.0.0.1:9/db?driver=x;PWD={SECRET}",
    f"http://127.0.0.1:9/?access_token={SECRET}",
    f"http://127.0.0.1:9/?X-Signature={SECRET}",
    f"http://127.0.0.1:9/?auth={SECRET}",
    f"http://alice:a'{SECRET}@127.0.0.1:9",
    f'http://alice:a"{SECRET}@127.0.0.1:9',
    f"http://alice:<{SECRET}@127.0.0.1:9",
]


@pytest.fixture(autouse=True)
def address() -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    yield
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_secret_of_an_address_is_shown(address: str) -> None:
    mlflow.set_tracking_uri(address)
    assert SECRET not in uri.address()
    assert "127.0.0.1:9" in uri.address()
    for act in (uri.check_address, uri.inspect_store, uri.check_writable, reader.load):
        with pytest.raises(StoreError) as error:
            act()
        assert SECRET not in str(error.value)
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_text_from_outside_is_shown_without_its_secrets(address: str) -> None:
    text = f"API request to {address}/api failed (see '{address}'): no"
    assert SECRET not in redacted(text) and SECRET not in one_line(RuntimeError(text))
    assert redacted(text).startswith("API request to ") and redacted(text).endswith("no")


@pytest.mark.parametrize(
    "text",
    [
        f"connection of password={SECRET} host=db failed",
        f"settings {{'password': '{SECRET}', 'user': 'me'}}",
        f"Authorization: Basic {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"odbc_connect=DRIVER%3Dx%3BPWD%3D{SECRET}",
    ],
)
def test_secrets_of_drivers_and_requests_are_not_shown(text: str) -> None:
    assert SECRET not in one_line(RuntimeError(text))


def test_a_password_with_a_blank_is_not_shown() -> None:
    mlflow.set_tracking_uri(f"http://alice:a {SECRET}@127.0.0.1:9")
    assert uri.address() == "http://127.0.0.1:9"


@pytest.mark.parametrize("address", ["mysql+pymysql://127.0.0.1/db", "mssql+pyodbc://127.0.0.1/db"])
def test_a_driver_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(uri, "check_address", lambda: None)
    monkeypatch.setattr(uri, "check_writable", lambda: None)
    monkeypatch.setattr(reader, "check_address", lambda: None)
    mlflow.set_tracking_uri(address)
    driver = address.partition("+")[2].partition(":")[0]
    for act in (uri.inspect_store, reader.load):
        with pytest.raises(StoreError, match=f"not installed: python -m pip install {driver}"):
            act()


@pytest.mark.parametrize(
    "text",
    [
        "dropout(0.2,0.5) wd=0.0001 decay@10",
        "sqlite:///mlflow.db",
        "http://127.0.0.1:5000/#/experiments/1?workflowType=machine_learning",
        "key=3, monkey=4",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("bad", ["postgresql://u:p[w]x@host/db", "http://u:p]w@host:80/"])
def test_an_address_that_cannot_be_parsed_says_how_to_write_a_bracket(bad: str) -> None:
    mlflow.set_tracking_uri(bad)
    for act in (uri.check_address, uri.inspect_store, uri.check_writable, reader.load):
        with pytest.raises(StoreError, match="write a bracket .* as %5B or %5D") as error:
            act()
        assert "p[w" not in str(error.value) and "p]w" not in str(error.value)


@pytest.mark.parametrize("name", ["my project", "größe & co", "a'b", "-dash", "a+b", "[x]"])
def test_a_store_in_any_folder_is_found_by_its_encoded_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = tmp_path / name
    place.mkdir()
    monkeypatch.chdir(place)
    mlflow.set_tracking_uri(f"sqlite:///{quote(str(place))}/mlflow.db")
    assert uri.inspect_store().endswith("will be made by the first study")
    MlflowClient(mlflow.get_tracking_uri()).search_experiments()
    assert (place / "mlflow.db").exists()
    uri.check_address()
    assert uri.inspect_store().endswith("is a store of MLflow's")
    assert [path.name for path in tmp_path.iterdir()] == [name]  # no encoded folder beside it


ENCODED = """
import sys, mlflow
from analysis.store import uri
mlflow.set_tracking_uri(sys.argv[1])
uri.check_writable()
mlflow.MlflowClient().search_experiments()
assert uri.inspect_store().endswith("is a store of MLflow's")
"""


@pytest.mark.parametrize("inside", [True, False])
def test_a_store_in_a_folder_that_must_be_encoded_is_found(tmp_path: Path, inside: bool) -> None:
    place = tmp_path / "100%20 a#b?c"
    place.mkdir()
    address = f"sqlite:///{quote(str(place))}/mlflow.db"
    subprocess.run(
        [sys.executable, "-c", ENCODED, address],
        cwd=place if inside else tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
    )  # fmt: skip
    assert (place / "mlflow.db").exists()


@pytest.mark.parametrize("address", ["sqlite:////proc/mlflow.db", "sqlite:////proc/none/mlflow.db"])
def test_a_database_that_cannot_be_written_is_told_at_once(address: str) -> None:
    mlflow.set_tracking_uri(address)
    start = time.monotonic()
    for act in (uri.check_writable, uri.inspect_store):
        with pytest.raises(StoreError, match="cannot be written to"):
            act()
    assert time.monotonic() - start < 2


def test_a_folder_of_runs_that_is_not_there_is_told_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri("./mlruns")
    for act in (uri.check_writable, uri.inspect_store, uri.check_address):
        with pytest.raises(StoreError, match="no tracking store at"):
            act()


class WebPage(BaseHTTPRequestHandler):
    """Somebody else's web server."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!DOCTYPE html><html><body><h1>Hello</h1></body></html>")

    do_POST = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_web_page_at_the_address_is_not_shown_raw() -> None:
    with HTTPServer(("127.0.0.1", 0), WebPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mlflow.set_tracking_uri(f"http://alice:{SECRET}@127.0.0.1:{server.server_port}")
        for act in (reader.load, uri.inspect_store):
            with pytest.raises(StoreError, match="a web page") as error:
                act()
            assert "<" not in str(error.value) and SECRET not in str(error.value)
        server.shutdown()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> synthetic.Writer:
    """A study of a single trial."""
    monkeypatch.chdir(tmp_path)
    synthetic.use_store(tmp_path)
    writer = synthetic.Writer(synthetic.declaration())
    writer.trial(synthetic.Arm("dropout", 0.5, 0.5, 0.0), (100, 101), schema.CONFIRM, "swap")
    return writer


def test_what_lies_in_the_trash_is_said_to_lie_there(store: synthetic.Writer) -> None:
    client = MlflowClient()
    client.delete_run(store.study_run)
    with pytest.raises(StoreError, match=f"mlflow runs restore --run-id {store.study_run}"):
        reader.load()
    client.restore_run(store.study_run)
    experiment = client.get_run(store.study_run).info.experiment_id
    client.delete_experiment(experiment)
    with pytest.raises(StoreError, match=f"was deleted: .*experiments restore -x {experiment}"):
        reader.load()
    client.restore_experiment(experiment)
    assert reader.load().deleted == 0
    trial = client.search_runs([experiment], f"tags.`{schema.TAG_KIND}` = 'trial'")[0]
    client.delete_run(trial.info.run_id)
    assert reader.load().deleted == 1


def test_a_study_elsewhere_is_pointed_to(store: synthetic.Writer) -> None:
    with pytest.raises(StoreError, match="newest study is in experiment 'dropout-study'"):
        reader.load(experiment="Default")
    with pytest.raises(StoreError, match="--experiment dropout-study"):
        reader.load(experiment="no-such")


def test_artifacts_that_were_moved_are_named(store: synthetic.Writer) -> None:
    folder = uri.local_path(MlflowClient().get_run(store.study_run).info.artifact_uri)
    assert folder is not None
    folder.rename(folder.with_name("moved"))
    with pytest.raises(StoreError, match="is not there. Put it back") as error:
        reader.load()
    assert str(folder) in str(error.value) and not folder.exists()
