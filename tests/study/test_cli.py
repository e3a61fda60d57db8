"""Bad input gets one clear line and the right exit code, and loses nothing; the ways in agree."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
import yaml
from click.testing import CliRunner
from command_line import Call, one_line
from mlflow import MlflowClient
from torch import Tensor

from analysis import schema
from analysis.report import writer
from analysis.store import reader
from models import download
from models.download import FILES
from models.noise import NOISE, Context, Noise, Rate, per_layer
from study.commands import cli as main_module
from study.commands.cli import cli, main
from study.planning import timing
from study.presets import PRESETS
from study.resumable import ResumableStudy
from study.tracking.retry import CutShort

ROOT = Path(__file__).parents[2]


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.HTTPWarning")
def test_a_tracking_address_that_does_not_answer(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    def nowhere(dataset: download.Source) -> download.Files:
        raise OSError("no route to host")

    monkeypatch.setattr(download, "SOURCES", {"somewhere": nowhere})
    code, stderr = call("study", "--preset", "smoke")
    assert code == 1
    assert "cannot be had from any source" in one_line(stderr) and "apt-get install" in stderr


def test_report_of_what_is_not_there(call: Call, tmp_path: Path) -> None:
    code, stderr = call("report")
    assert code == 1
    assert "no tracking store" in one_line(stderr)
    assert not (tmp_path / "mlflow.db").exists()


def test_a_second_coordinator_is_refused(call: Call, folder: Path) -> None:
    """A study run with a fresh heartbeat from elsewhere stands in the way; a silent one does not
    (test_study kills)."""
    from study.declaration import declare
    from study.trial import Setting
    from study.worker import load_split

    setting = Setting("fashion-mnist", str(folder), "cpu")
    declared = declare(
        PRESETS["smoke"], PRESETS["smoke"].noise_types, 0.5, load_split(setting), setting
    )
    client = MlflowClient()
    beat = json.dumps({"host": "elsewhere", "pid": 1, "started": 0, "time": int(time.time())})
    tags = {schema.TAG_ID: declared.study_id, schema.TAG_KIND: "study", schema.TAG_HEARTBEAT: beat}
    run = client.create_run(client.create_experiment(schema.EXPERIMENT), tags=tags)
    code, stderr = call(
        "study", "--preset", "smoke", "--data", str(folder), "--precision", "float32"
    )
    assert code == 1
    assert "process 1 on elsewhere is running this study already" in one_line(stderr)
    assert client.get_run(run.info.run_id).info.status == "RUNNING"


def test_plan_counts_and_times_without_running(
    call: Call, capfd: pytest.CaptureFixture[str], folder: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "SECONDS", 0.5)
        patch.setattr(sys, "argv", ["study", "plan", "--preset", "smoke", "--data", str(folder)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    printed, types = capfd.readouterr().out, len(PRESETS["smoke"].noise_types)
    assert [line.split()[:3] for line in printed.splitlines()[2:7]] == [
        # Every type and dropout alone: four search trials, the best again.
        ["search", str(4 * (types + 1)), str(4 * (types + 1))],
        ["rerank", str(types + 1), str(types + 1)],
        # At half and at twice the learning rate; no swapped pairs on a grid.
        ["explore", str(2 * types), str(2 * types)],
        # Three pairs both ways, the tuned arms, no regularisation and dropout alone.
        ["confirm", str(8 + types), str(3 * (8 + types))],
        ["all", "45", "69"],
    ]
    for part in (
        "seeds",
        "1000-1002",
        "arms of swap: dropout(0.1,0.5)",
        "disk: about",
        "time: about",
        "80 % of studies",
    ):
        assert part in printed
    assert (
        len(
            re.findall(
                r"^swap +test/accuracy +main, 1,000 images, 4 epochs +3 ", printed, re.MULTILINE
            )
        )
        == 1
    )
    assert not (tmp_path / "mlflow.db").exists()


def test_help_and_version(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Help names every option's default and the environment; neither needs a store or data."""
    for arguments, expected in (
        (("--version",), f"code version {schema.CODE_VERSION}, commit "),
        (("--help",), "MLFLOW_TRACKING_URI"),
        (("study", "--help"), "NO_COLOR"),
        (("doctor", "--help"), "[default: data]"),
    ):
        monkeypatch.setattr(sys, "argv", ["study", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert not ended.value.code and not err and expected in " ".join(out.split())
    for command in cli.commands.values():
        assert all(
            getattr(param, "show_default", "") and getattr(param, "help", "")
            for param in command.params
        )


def test_mlproject_and_command_line_agree() -> None:
    """Each entry point passes every option of its command, under the same name and with the same
    default."""
    entry_points = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    assert entry_points["main"] == entry_points["study"]
    assert set(entry_points) - {"main"} == set(cli.commands)
    for name, command in cli.commands.items():
        options = {
            option.opts[0].removeprefix("--").replace("-", "_"): option for option in command.params
        }
        parameters = entry_points[name]["parameters"]
        assert set(parameters) == set(options)
        for parameter, declared in parameters.items():
            assert str(declared["default"]) == str(options[parameter].default)
            assert f"{options[parameter].opts[0]} {{{parameter}}}" in entry_points[name]["command"]


@pytest.mark.parametrize("port", ["99999", "abc"])
def test_an_impossible_tracking_address(call: Call, port: str) -> None:
    mlflow.set_tracking_uri(f"http://localhost:{port}")
    code, stderr = call("report")
    assert code == 1
    assert "does not answer" in one_line(stderr)


class Hot(Noise):
    """Finite at a faint rate, and not at others."""

    rates = per_layer(Rate("from 0.1 on it never gives a finite loss"))

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        return torch.where(
            self.rate_of(0).flatten() < 0.1, super().loss(forward, context), torch.inf
        )


def test_a_diverged_search_trial_leaves_no_hole(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 0: the type is tuned by its other trials, and every contrast is answered; the failure is
    told."""
    monkeypatch.setitem(NOISE, "hot", Hot)
    code, stderr = call("study", "--preset", "smoke", "--noise", "hot", "--data", str(folder))
    assert code == 0, stderr
    assert "2 trials failed and were excluded: hot (0.2, 0.2)" in stderr
    assert re.search(
        r"hot \(0\.2, 0\.2\), weight decay \S+, glimpse \(4 epochs\): diverged", stderr
    )
    assert len(reader.load().failed) == 2 and "hot" in set(reader.load().table["noise"])
    trained = len(mlflow.search_runs(search_all_experiments=True))
    code, stderr = call("study", "--preset", "smoke", "--noise", "hot", "--data", str(folder))
    assert code == 0, stderr
    assert "2 trials failed and were excluded: hot (0.2, 0.2)" in stderr
    assert len(mlflow.search_runs(search_all_experiments=True)) == trained + 1  # the study's own


class Exploding(Noise):
    """A type that never gives a finite loss."""

    rates = per_layer(Rate("nothing"))

    def loss(self, forward: Callable[[], Tensor], context: Context) -> Tensor:
        return super().loss(forward, context) * torch.inf


def test_a_type_that_diverges_is_left_out_and_told(
    call: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 3: its trials are FAILED and never scored, its contrasts are not answered, the rest of
    the study stands."""
    monkeypatch.setitem(NOISE, "exploding", Exploding)
    code, stderr = call("study", "--preset", "smoke", "--noise", "exploding", "--data", str(folder))
    assert code == 3, stderr
    assert "4 trials failed and were excluded" in stderr
    assert "Traceback" not in stderr
    study = reader.load()
    assert {trial.status for trial in study.failed} == {"FAILED"} and len(study.failed) == 4
    assert set(study.table["noise"]) == {"none", "dropout"}
    answers = json.loads((tmp_path / "results" / "answers.json").read_text())
    verdicts = {
        row["contrast"]: row["verdict"] for row in answers if row["metric"] == "test/accuracy"
    }
    assert verdicts["exploding - dropout"] == verdicts["exploding - none"] == "not answered"
    assert verdicts["dropout - none"] != "not answered"
    assert (
        "exploding, 1,000 images, 4 epochs: 0 of 4 trials"
        in (tmp_path / "results" / "report.md").read_text()
    )


def test_a_disk_that_is_full_when_the_report_is_due_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exit code 3, as of whatever else a study can go on from."""

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "index.html.part"))

    class Finished(ResumableStudy):
        def read(self, images: bool = False) -> Any:
            return None

    monkeypatch.setattr(writer, "write", full)
    with pytest.raises(
        CutShort, match="the report .*: No space left on device; finished trials are kept: the same"
    ):
        Finished.report(Finished.__new__(Finished), tmp_path)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("study", "interrupted; finished trials are kept: the same command goes on from them"),
        ("plan", "interrupted"),
    ],
)
def test_only_a_study_that_is_interrupted_has_trials_to_keep(
    call: Call, monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    def interrupted(**options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_module, "resolve", interrupted)
    code, stderr = call(command, "--preset", "smoke")
    assert (code, stderr.strip()) == (130, told)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (CutShort("\nthe store is away"), 3, "error: the store is away\n"),
        (type("OfTheCluster", (CutShort,), {})("gone"), 3, "error: gone\n"),
        (OSError("\n\n"), 1, "error: OSError\n"),
    ],
)
def test_an_expected_error_is_its_first_line_that_says_something(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, told: str
) -> None:
    def fails(**options: object) -> None:
        raise error

    monkeypatch.setattr(main_module, "resolve", fails)
    assert call("plan", "--preset", "smoke") == (code, told)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("study", "--preset", "smoke"), "index.html"),
        (("study", "--preset", "smoke"), "figures/beat-dropout-glimpse.svg"),
        (("report",), "index.html"),
    ],
)
def test_a_folder_of_somebodys_files_is_refused_before_anything_is_trained(
    call: Call, tmp_path: Path, folder: Path, command: tuple[str, ...], name: str
) -> None:
    file = tmp_path / "thesis" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    more = ("--data", str(folder)) if command[0] == "study" else ()
    start = time.monotonic()
    code, stderr = call(*command, "--output", "thesis", *more)
    assert code == 1
    assert f"thesis holds {name}, which no report" in stderr.splitlines()[-1]
    assert time.monotonic() - start < 10
    assert file.read_text() == "mine"
    assert not (tmp_path / "mlflow.db").exists()


def test_the_ui_of_a_server_is_told_and_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store without a study says so; the address of the newest study opens its tree."""
    monkeypatch.setattr("analysis.store.uri.settle_address", lambda: "https://me:secret@host/x/")
    monkeypatch.setattr("analysis.store.uri.check_address", lambda: None)
    monkeypatch.setattr("analysis.store.whereabouts.newest_study", lambda: "")
    assert CliRunner().invoke(cli, ["ui"]).output == "no study yet (make study): https://host/x/\n"
    monkeypatch.setattr("analysis.store.whereabouts.newest_study", lambda: "7")
    address = "https://host/x/#/experiments/7/runs?viewStateShareKey=study-tree"
    assert CliRunner().invoke(cli, ["ui"]).output == (
        f"the newest study: {address}&workflowType=machine_learning\n"
    )
