"""Bad input gets one clear line and the right exit code, and loses nothing; the ways in agree."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow import MlflowClient

from models import sources
from models.sources import FILES
from study import schema
from study.cli import cli, main

ROOT = Path(__file__).parents[1]
Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Runs the command line in a fresh folder with a fresh store; gives its exit code and standard error."""
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["study", *arguments])
        capfd.readouterr()  # what the test itself did to the store
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capfd.readouterr().err

    return run


def one_line(stderr: str) -> str:
    """The only line there is."""
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("study", "--max-rate", "1.5"), "1.5 is not in the range"),
        (("study", "--noise", "droput"), "unknown noise type droput: choose all, or some of none, dropout"),
        (("study", "--preset", "huge"), "'huge' is not one of 'smoke', 'quick', 'full'"),
        (("study", "--device", "abacus"), "'abacus' is not one of"),
        (("study", "--no-such-option"), "No such option"),
        (("plan", "--preset", "huge"), "'huge' is not one of"),
        (("dance",), "No such command 'dance'"),
    ],
)
def test_wrong_usage_is_exit_2(call: Call, arguments: tuple[str, ...], expected: str, folder: Path) -> None:
    code, stderr = call(*arguments)
    assert code == 2
    assert expected in one_line(stderr)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.HTTPWarning")
def test_a_tracking_address_that_does_not_answer(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
    start = time.monotonic()
    code, stderr = call("study", "--preset", "smoke", "--data", str(folder))
    assert code == 1
    assert f"http://127.0.0.1:{port} does not answer" in one_line(stderr)
    assert time.monotonic() - start < 20
    code, stderr = call("report")
    assert code == 1
    assert "does not answer" in one_line(stderr)


def test_a_truncated_data_file(call: Call, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "fashion-mnist", tmp_path / "data" / "fashion-mnist")
    damaged = next((tmp_path / "data" / "fashion-mnist").glob(f"{FILES[2]}*"))
    content = damaged.read_bytes()[:-1000]
    damaged.write_bytes(content)
    code, stderr = call("study", "--preset", "smoke", "--data", "data")
    assert code == 1
    assert FILES[2] in one_line(stderr) and "delete the file" in stderr
    assert damaged.read_bytes() == content


def test_no_data_reachable(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(dataset: sources.Source) -> sources.Files:
        raise OSError("no route to host")

    monkeypatch.setattr(sources, "SOURCES", {"somewhere": nowhere})
    code, stderr = call("study", "--preset", "smoke")
    assert code == 1
    assert "cannot be had from any source" in one_line(stderr) and "apt-get install" in stderr


@pytest.mark.parametrize("command", ["study", "report"])
def test_an_output_folder_that_cannot_be_written(call: Call, command: str, tmp_path: Path) -> None:
    """Found out before anything is trained. (A plain file stands in the way: root may write to any folder.)"""
    (tmp_path / "file").write_text("not a folder")
    code, stderr = call(command, "--output", "file/results")
    assert code == 1
    assert "cannot write to the output folder file/results" in one_line(stderr)
    assert not (tmp_path / "mlflow.db").exists()


def test_report_of_what_is_not_there(call: Call, tmp_path: Path) -> None:
    code, stderr = call("report")
    assert code == 1
    assert "no tracking store" in one_line(stderr)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_second_coordinator_is_refused(call: Call, folder: Path) -> None:
    """A study run with a fresh heartbeat from elsewhere stands in the way; a silent one does not (test_study kills)."""
    from study.declare import declare, pick_noise_types
    from study.executors import load_split
    from study.presets import PRESETS
    from study.trial import Setting

    setting = Setting("fashion-mnist", str(folder), PRESETS["smoke"].train_examples, "cpu")
    declared = declare(PRESETS["smoke"], pick_noise_types("all"), 0.8, load_split(setting), setting)
    client = MlflowClient()
    beat = json.dumps({"host": "elsewhere", "pid": 1, "time": int(time.time())})
    tags = {schema.TAG_ID: declared.study_id, schema.TAG_KIND: "study", schema.TAG_HEARTBEAT: beat}
    run = client.create_run(client.create_experiment(schema.EXPERIMENT), tags=tags)
    code, stderr = call("study", "--preset", "smoke", "--data", str(folder))
    assert code == 1
    assert "process 1 on elsewhere is running this study already" in one_line(stderr)
    assert client.get_run(run.info.run_id).info.status == "RUNNING"


def test_plan_counts_and_times_without_running(
    call: Call, capfd: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["study", "plan", "--preset", "smoke", "--data", str(folder)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    printed = capfd.readouterr().out
    assert [line.split()[:3] for line in printed.splitlines()[2:6]] == [
        ["search", "12", "24"],
        ["rerank", "6", "12"],
        ["confirm", "15", "45"],
        ["all", "33", "81"],
    ]
    assert "80 % of studies" in printed
    assert not (tmp_path / "mlflow.db").exists()


def test_mlproject_and_command_line_agree() -> None:
    """Each entry point passes every option of its command, under the same name and with the same default."""
    entry_points = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    assert entry_points["main"] == entry_points["study"]
    assert set(entry_points) - {"main"} == set(cli.commands)
    for name, command in cli.commands.items():
        options = {option.opts[0].removeprefix("--").replace("-", "_"): option for option in command.params}
        parameters = entry_points[name]["parameters"]
        assert set(parameters) == set(options)
        for parameter, declared in parameters.items():
            assert str(declared["default"]) == str(options[parameter].default)
            assert f"{options[parameter].opts[0]} {{{parameter}}}" in entry_points[name]["command"]
