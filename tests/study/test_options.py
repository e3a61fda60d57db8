"""Every parameter of every entry point, given what it cannot mean: one line, the stated exit code,
nothing left behind.

Exit code 2 is for a value that can never be right, 1 for one that the world at hand does not go
with. What an address for --optuna may be is in test_export.py, since it needs a search to export.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dask
import mlflow
import pytest
import synthetic
from command_line import Call, one_line
from mlflow import MlflowClient

from analysis import schema
from analysis.schema import Declaration
from analysis.store import reader
from analysis.store.uri import StoreError
from models import download
from study.commands import param_types
from study.commands.cli import cli
from study.declaration import declare
from study.presets import PRESETS
from study.tracking import retry
from study.tracking.lifecycle import open_study
from study.trial import Setting
from study.worker import load_split

BOTH, ALL = ("study", "plan"), ("study", "plan", "report")
READERS = ("report", "export")
DOCTOR = (*BOTH, "doctor")  # what its exit code 1 is for is in test_doctor.py
QUOTED = "x' or '1'='1"
SHELL = "$(touch x); `touch x` | touch x"


class Row(NamedTuple):
    """A parameter's bad value, and what is said of it."""

    command: str
    parameter: str
    value: str
    code: int
    expected: str


def rows(
    commands: tuple[str, ...], parameter: str, code: int, expected: str, *bad: str
) -> list[Row]:
    return [Row(command, parameter, value, code, expected) for command in commands for value in bad]


NO_WORD = ("", " ", "QUÏCK", "quick ", "١", "x" * 5000, "a\nb", "a\0b", "\udcff", SHELL)
"""What no list of words has."""
NO_TEXT = ("", "  ", "a\nb", "a\0b", "a\u2028b", "\udcff", "x" * 5000)
"""What cannot be shown in one line, or kept."""
NO_NUMBER = ("", " ", "five", "0x10", "1,5", "nan", "inf", "-inf", "1e400", "--help", SHELL)
"""What is no number, or beyond every range."""
NO_WHOLE = (*NO_NUMBER, "2.5", "-5", "1e3", "9" * 99)
NO_ADDRESS = (
    *NO_TEXT, "auto", "localhost:8786", "http://host:8786", "tcp://host", "tcp://:8786", "tcp://host:0",
    "tcp://host:65536", "tcp://host:٨٧٨٦", "tcp://host:8786/path", "tcp://a b:8786", "tcp://user@host:8786",
    "tcp://хост:8786", SHELL,
)  # fmt: skip

TABLE = [
    *rows(BOTH, "preset", 2, "is not one of 'smoke', 'quick', 'full'", "huge", "any", "Quick", *NO_WORD),
    *rows(("report",), "preset", 2, "is not one of 'any', 'smoke', 'quick'", "huge", "Any", *NO_WORD),
    *rows(("report",), "preset", 1, "holds no study run of preset 'full' yet", "full"),
    *rows(("ui",), "port", 2, "for '--port'", "0", "65536", *NO_WHOLE),
    *rows(DOCTOR, "dataset", 2, "it must be one of fashion-mnist, mnist, kmnist, or path:FOLDER",
          "cifar10", "PATH:file", *NO_WORD),
    *rows(DOCTOR, "dataset", 2, "it must be path: and a folder: 1 to 4096 characters",
          *(f"path:{folder}" for folder in NO_TEXT)),
    *rows(BOTH, "dataset", 1, "there is no such folder", "path:file", "path:nowhere", "path:dangling", "path:größe 📁"),
    *rows(BOTH, "dataset", 1, "lacks train-images-idx3-ubyte, train-labels-idx1-ubyte", "path:."),
    *rows(DOCTOR, "device", 2, "is not one of 'auto', 'cpu', 'cuda', 'mps'", "abacus", "cuda:0", "CPU", *NO_WORD),
    *rows(BOTH, "precision", 2, "is not one of 'auto', 'float32', 'tf32', 'bfloat16'", "float64", "32", *NO_WORD),
    *rows(BOTH, "noise", 2, "it must be noise types joined by commas: 1 to 4096 characters", *NO_TEXT),
    *rows(BOTH, "noise", 2, "unknown noise type droput: did you mean dropout",
          "droput", "all,droput", "none, droput "),
    *rows(BOTH, "noise", 2, "unknown noise type '': docs/noise.md lists all", ",", "dropout,", "dropout,,gaussian"),
    *rows(BOTH, "noise", 2, "unknown noise type ",
          "Dropout", "дропаут", "0", "nan", "../dropout", SHELL, QUOTED, "x" * 4000),
    *rows(BOTH, "noise", 2, "there is no module nowhere", "nowhere:Blink"),
    *rows(BOTH, "noise", 2, "is not of the form package.module:Class",
          "mine/blink.py:Blink", "nowhere:", ":", "a:b()"),
    *rows(BOTH, "noise", 2, "is not a noise type", "os:system", "builtins:eval"),
    *rows(BOTH, "noise", 2, "noise type gain is not searched", "gain"),
    *rows(BOTH, "questions", 2, "it must be questions joined by commas, or all: 1 to 4096 characters", *NO_TEXT),
    *rows(BOTH, "questions", 2, "preset quick asks no question swop: choose all, or some of swap",
          "swop", "swap, swop"),
    *rows(BOTH, "questions", 2, "preset quick asks no question '': choose all", ",", "swap,"),
    *rows(BOTH, "questions", 2, "preset quick asks no question ", "Swap", "epochs", "вопрос", "0", SHELL, QUOTED),
    *rows(BOTH, "seeds", 2, "; or give the word preset", "2", "100001", *NO_WHOLE),
    *rows(BOTH, "first_seed", 2, "; or give the word preset",
          "999", "2147483649", *NO_WHOLE),
    *rows(BOTH, "max_rate", 2, "Invalid value for '--max-rate'", "0.951", "-0.01", "1.5", "1/2", *NO_NUMBER),
    *rows(DOCTOR, "data", 2, "it must be a folder: 1 to 4096 characters", *NO_TEXT),
    *rows(BOTH, "data", 1, "cannot use the data folder file: Not a directory; choose another by --data", "file"),
    *rows(BOTH, "data", 1, "choose another by --data", "file/below", "dangling", "x" * 300, "/dev/null"),
    *rows(BOTH, "data", 1, "fashion-mnist cannot be had from any source: connect to",
          "größe/данные 📁", SHELL, ".."),
    *rows(("merge",), "from", 2, "it must be the address of a sqlite file, such as sqlite:///other.db",
          *NO_TEXT, "other.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "postgresql://me:pw@db/x",
          "http://host:5000", SHELL),
    *rows(("merge",), "from", 1, "give --from the address of a sqlite file",
          "sqlite:///nowhere.db", "sqlite:///.", "sqlite:///größe 📁.db", f"sqlite:///{SHELL}", "sqlite:////dev/null"),
    *rows(("merge",), "from", 1, "cannot be read (file is not a database): copy it again, or give --from another",
          "sqlite:///file"),
    *rows(("merge",), "artifacts", 2, "it must be a folder: 1 to 4096 characters", *NO_TEXT),
    *rows((*ALL, "export", "merge"), "experiment", 2, "an experiment's name: 1 to 256 characters", *NO_TEXT, "x" * 257),
    *rows(READERS, "experiment", 1, "it has: Default, dropout-study",
          "nowhere", "a/b", "größe 📁", "x" * 256, QUOTED, SHELL),
    *rows(("study",), "workers", 2, "Invalid value for '--workers'", "1025", *NO_WHOLE),
    *rows(("study", "doctor"), "scheduler", 2, "it must be an address such as tcp://host:8786", *NO_ADDRESS),
    *rows((*ALL, "doctor"), "output", 2, "it must be a folder: 1 to 4096 characters", *NO_TEXT),
    *rows(ALL, "output", 1, "cannot write to the output folder file: Not a directory; choose another by --output",
          "file"),
    *rows(ALL, "output", 1, "choose another by --output",
          "file/below", "dangling", "x" * 300, "/dev/null", "/dev/null/x"),
    *rows((*READERS, "merge"), "study_id", 2, "it must be a study's id, 12 hexadecimal digits",
          "", "newest ", "0123", QUOTED,
          "0123456789AB", "٠" * 12, "0" * 13, "0123456789a\n", "0123456789\0b", "x" * 5000, SHELL),
    *rows(READERS, "study_id", 1, "no study '0123456789ab' in experiment 'dropout-study'; known: ",
          "0123456789ab"),
    *rows(("export",), "optuna", 2, "it must be a database's address: 1 to 4096 characters", *NO_TEXT),
]  # fmt: skip


def name_of(row: Row) -> str:
    return f"{row.command}-{row.parameter}-{ascii(row.value)[1:-1][:24] or 'empty'}"


def option(parameter: str) -> str:
    return "--" + parameter.replace("_", "-")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a store with a study of preset `quick` in it, of which nothing but the study
    run is there."""
    before = mlflow.get_tracking_uri()
    address = synthetic.use_store(tmp_path_factory.mktemp("store"))
    synthetic.Writer(synthetic.declaration()).end()
    yield address
    mlflow.set_tracking_uri(before)


def nothing_runs() -> bool:
    experiments = [one.experiment_id for one in mlflow.search_experiments()]
    return not MlflowClient().search_runs(experiments, "attributes.status = 'RUNNING'")


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.name.startswith("mlflow.db-")}


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_a_bad_value_is_one_line(
    call: Call, row: Row, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.setattr(download, "SOURCES", {})
    if row.command in READERS:  # the others have an address where no database is yet, and make none
        mlflow.set_tracking_uri(store)
    before = files(tmp_path) | files(Path(store.removeprefix("sqlite:///")).parent)
    code, stderr = call(row.command, option(row.parameter), row.value)
    line = one_line(stderr)
    assert row.expected in line
    assert code == row.code
    assert (
        code == 1 or len(line) < 600 or len(row.value) > 600
    )  # nothing is told at a length that nobody reads
    assert files(tmp_path) | files(Path(store.removeprefix("sqlite:///")).parent) == before
    assert row.command not in READERS or nothing_runs()


def test_the_table_leaves_no_parameter_out() -> None:
    there = {
        (command, param.opts[0])
        for command in cli.commands
        for param in cli.commands[command].params
    }
    assert {(row.command, option(row.parameter)) for row in TABLE} == there


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("dance",), "No such command 'dance'"),
        (("study", "--no-such-option"), "No such option '--no-such-option'"),
        (("study", "--no\nsuch"), "No such option"),
        (("study", "quick"), "Got unexpected extra argument (quick)"),
        (("study", "--seeds"), "Option '--seeds' requires an argument"),
        (("study", "--workers", "2", "--scheduler", "tcp://host:8786"), "give one"),
    ],
)
def test_what_is_no_value_is_one_line_too(
    call: Call, arguments: tuple[str, ...], expected: str
) -> None:
    code, stderr = call(*arguments)
    assert code == 2
    assert expected in one_line(stderr)


@pytest.mark.parametrize("value", [*NO_NUMBER, "-1", "604801", "1e9"])
@pytest.mark.parametrize("command", ["study", "report"])
def test_a_variable_of_the_environment_that_cannot_be_meant(
    call: Call, monkeypatch: pytest.MonkeyPatch, command: str, value: str
) -> None:
    monkeypatch.setenv("DROPOUT_STUDY_PATIENCE", value)
    code, stderr = call(command)
    assert code == 2
    assert "DROPOUT_STUDY_PATIENCE must be a number from 0 to 604800, not " in one_line(stderr)


def test_the_patience_that_is_asked_for_is_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPOUT_STUDY_PATIENCE", "2.5")
    assert retry.patience() == 2.5
    monkeypatch.delenv("DROPOUT_STUDY_PATIENCE")
    assert retry.patience() == 180


@pytest.mark.parametrize(("scheme", "encryption"), [("tls", False), ("tcp", True)])
def test_tls_that_is_not_set_up_is_one_line(
    call: Call, folder: Path, tmp_path: Path, scheme: str, encryption: bool
) -> None:
    pytest.importorskip("distributed")  # which has the defaults of its settings
    address = f"{scheme}://127.0.0.1:8786"
    with dask.config.set({"distributed.comm.require-encryption": encryption}):
        code, stderr = call(
            "study", "--preset", "smoke", "--data", str(folder), "--scheduler", address
        )
    assert code == 1
    assert f"the TLS settings here do not go with {address} (" in one_line(stderr)
    assert not any(tmp_path.iterdir())


def test_questions_and_noise_take_the_word_all_among_others() -> None:
    from study.presets import chosen

    assert chosen("smoke", "swap, all", None, None) == PRESETS["smoke"]


@pytest.fixture
def declared(folder: Path) -> tuple[Declaration, Setting]:
    setting = Setting("fashion-mnist", str(folder), "cpu")
    return declare(
        PRESETS["smoke"], ("none", "dropout"), 0.5, load_split(setting), setting
    ), setting


@pytest.mark.parametrize(
    "name", ["a/b", "größe 📁 实验", QUOTED, 'x" `y` % _ \\', " blanks ", "x" * 256, "..", "0"]
)
def test_an_experiment_name_that_is_taken_works(
    declared: tuple[Declaration, Setting], name: str, store: str
) -> None:
    mlflow.set_tracking_uri(store)
    assert (
        param_types.text("name", param_types.LONGEST_EXPERIMENT).convert(name, None, None) == name
    )
    with open_study(*declared, name) as tracker:
        tracker.finish()
    assert reader.load(experiment=name).experiment == name
    assert nothing_runs()


def test_a_deleted_experiment_is_told(declared: tuple[Declaration, Setting], store: str) -> None:
    mlflow.set_tracking_uri(store)
    client = MlflowClient()
    client.delete_experiment(client.create_experiment("gone"))
    with (
        pytest.raises(StoreError, match="'gone' was deleted: restore it by"),
        open_study(*declared, "gone"),
    ):
        pass


@pytest.mark.parametrize("name", [schema.DECLARATION_FILE, schema.VERSIONS_FILE, schema.ARMS_FILE])
@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, '{"a": 1}', "null", '"x"', ""])
def test_a_damaged_file_of_the_store_is_one_line(
    call: Call, name: str, text: str, store: str
) -> None:
    """Or, where it says that there is nothing, nothing is read from it."""
    mlflow.set_tracking_uri(store)
    experiment = f"damaged {name} {text[:2]}{len(text)}"
    writer = synthetic.Writer(synthetic.declaration(), experiment)
    writer.artifact(name, text)
    writer.end()
    if name != schema.DECLARATION_FILE and text == "":
        assert not getattr(reader.load(experiment=experiment), name.removesuffix(".json"))
        return
    with pytest.raises(StoreError) as caught:
        reader.load(experiment=experiment)
    assert len(str(caught.value).splitlines()) == 1
