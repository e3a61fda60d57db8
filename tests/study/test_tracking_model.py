"""The winner as a model: right for every noise type, at home where this project is not, registered
with evidence."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from noise_setup import images, make
from torch import Tensor

from analysis import schema
from analysis.formatting import arms_in_words
from analysis.stats import selection
from analysis.store import reader
from models.config import Arm, rate_table
from models.data import Split
from models.export import repeatable, to_numbers
from models.metrics import predict
from models.mlp import initialise
from models.noise import NOISE, Context, Noise, Rate, noise_type, per_layer
from models.noise.inputs import with_input
from models.noise.one_sided import Gain
from models.noise.schedules import curriculum, early, late, scheduled
from models.rng import Stream
from models.train import Trained, train_population
from study.declaration import declare
from study.presets import PRESETS
from study.tracking import model, model_registry, served_model
from study.tracking.lifecycle import open_study
from study.tracking.writer import Tracker
from study.trial import Setting, Trial

SMOKE, SEEDS = PRESETS["smoke"], (1000, 1001)
SHORT = SMOKE.recipes[0]
DROPOUT = Arm("dropout", 0.3, 0.5, 1e-5, SHORT)
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stored:
    """A study's confirmed arm in a store: what was trained, what the user was told, the seed run
    with the model."""

    folder: Path
    trained: list[Trained]
    told: str
    run: Any

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that knows the store, and not this project."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "VIRTUAL_ENV")
        }
        return {**kept, "MLFLOW_TRACKING_URI": f"sqlite:///{self.folder / 'mlflow.db'}"}


@pytest.fixture(scope="module")
def setting(folder: Path) -> Setting:
    return Setting("fashion-mnist", str(folder), "cpu")


def opened(place: Path, setting: Setting, parts: Split) -> Any:
    mlflow.set_tracking_uri(f"sqlite:///{place / 'mlflow.db'}")
    return open_study(
        declare(SMOKE, ("none", "dropout"), 0.8, parts, setting), setting, schema.EXPERIMENT
    )


def confirm(tracker: Tracker, arm: Arm, parts: Split) -> list[Trained]:
    """Trains an arm on the first images and logs it as the study's winner."""
    trained = train_population([arm], SEEDS, parts, test=True)
    tracker.log_trial(
        Trial(arm, SEEDS, schema.CONFIRM, ("beat-dropout",)), trained, with_model=True
    )
    return trained


@pytest.fixture(scope="module")
def stored(
    tmp_path_factory: pytest.TempPathFactory, setting: Setting, parts: Split
) -> Iterator[Stored]:
    place, before = tmp_path_factory.mktemp("champion"), os.getcwd()
    os.chdir(place)  # where MLflow puts the artifacts of a sqlite store
    with opened(place, setting, parts) as tracker:
        trained = confirm(tracker, DROPOUT, parts)
        tracker.finish()
        told = model_registry.register(tracker, DROPOUT)
    version = MlflowClient().get_model_version_by_alias(model_registry.NAME, model_registry.ALIAS)
    np.save(place / "x.npy", parts.test_x.numpy())
    np.save(place / "y.npy", parts.test_y.numpy())
    yield Stored(place, trained, told, MlflowClient().get_run(str(version.run_id)))
    os.chdir(before)


ELSEWHERE = """
import importlib.util, json, sys
import mlflow, numpy as np, pandas as pd

assert not {"models", "study", "analysis"} & set(sys.modules)
assert not any(importlib.util.find_spec(name) for name in ("study", "analysis", *sys.argv[1:]))
x, y = np.load("x.npy"), np.load("y.npy")
raw = np.rint(255 * x.reshape(-1, 28, 28)).astype(np.uint8)
model = mlflow.pyfunc.load_model("models:/dropout-study-champion@champion")
flat, images = model.predict(x)["probabilities"], model.predict(raw)["probabilities"]
noisy = [model.predict(raw[:50], params={"mc_samples": 30, "mc_seed": seed}) for seed in (1, 1, 2)]
few = model.predict(x[:5])["probabilities"]
for form in ({"images": x[:5]}, pd.DataFrame(x[:5]), pd.DataFrame({"images": list(x[:5])}),
             pd.DataFrame({"images": raw[:5].tolist()})):
    assert np.allclose(model.predict(form)["probabilities"], few, atol=1e-6)
refused = []
for wrong in (raw[0], raw.reshape(-1, 784), x.reshape(-1, 28, 28), x[:, :783], np.array(["coat"]), -x, x * np.nan,
              x[:0], [], {"pictures": x}, {}, pd.DataFrame(x[:, :783]), pd.DataFrame({"image": [1.0]})):
    try:
        model.predict(wrong)
    except Exception as error:
        refused.append(str(error))
print(json.dumps({
    "accuracy": float((flat.argmax(1) == y).mean()),
    "sums": float(abs(flat.sum(1) - 1).max()),
    "forms": float(abs(flat - images).max()),
    "keys": sorted(noisy[0]),
    "same": all(bool((noisy[0][key] == noisy[1][key]).all()) for key in noisy[0]),
    "other": bool((noisy[0]["mc_mean"] != noisy[2]["mc_mean"]).any()),
    "spread": float(noisy[0]["mc_standard_deviation"].mean()),
    "refused": refused,
}))
"""


def ask_elsewhere(stored: Stored, python: str, *missing: str) -> dict[str, Any]:
    """What the champion says in a process that cannot import this project, nor the packages
    `missing`."""
    done = subprocess.run(
        [python, "-c", ELSEWHERE, *missing],
        cwd=stored.folder, env=stored.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def check_answers(found: dict[str, Any], stored: Stored) -> None:
    assert found["accuracy"] == pytest.approx(stored.run.data.metrics["test/accuracy"], abs=1e-4)
    assert found["sums"] < 1e-5 and found["forms"] < 1e-6
    assert found["keys"] == ["mc_mean", "mc_standard_deviation", "probabilities"]
    assert found["same"] and found["other"] and found["spread"] > 1e-4
    assert len(found["refused"]) == 13
    for message in found["refused"]:
        assert (
            message.startswith("expected raw images of shape (n, 28, 28)")
            and message.endswith(
                'for example {"inputs": {"images": [[0.0, 0.5, ...]]}} with 784 numbers'
            )
            and len(message.splitlines()) == 1
        )


def test_it_predicts_what_its_run_logged_where_the_project_is_not(stored: Stored) -> None:
    check_answers(ask_elsewhere(stored, sys.executable), stored)


def test_its_tags_lead_to_the_evidence(stored: Stored) -> None:
    version = MlflowClient().get_model_version_by_alias(model_registry.NAME, model_registry.ALIAS)
    seed, tags = stored.run, version.tags
    assert seed.data.tags[schema.TAG_SEED] == "1000" and seed.info.status == "FINISHED"
    for tag in (schema.TAG_ID, schema.TAG_ARM, schema.TAG_DATA, schema.TAG_QUESTION):
        assert tags[tag] == seed.data.tags[tag]
    assert float(tags[model_registry.TAG_TEST]) == seed.data.metrics["test/accuracy"]
    study_run = MlflowClient().get_run(tags[model_registry.TAG_STUDY_RUN])
    assert study_run.data.tags[schema.TAG_KIND] == "study" and study_run.info.status == "FINISHED"
    assert tags[model_registry.TAG_REPORT] == f"runs:/{study_run.info.run_id}/report/index.html"
    assert (
        stored.told
        == f"the winner is {arms_in_words(DROPOUT.name)}, models:/{model_registry.NAME}@champion (version 1)"
    )
    signature = mlflow.models.get_model_info(str(version.source)).signature
    assert signature.inputs is None  # every form of request is let through
    metadata = mlflow.models.get_model_info(str(version.source)).metadata
    assert metadata and metadata["inputs"].startswith("images: (n, 28, 28)")
    assert {param.name: param.default for param in signature.params} == {
        "mc_samples": 0,
        "mc_seed": 0,
    }


def test_it_holds_no_pickle(stored: Stored) -> None:
    """Numbers, text, and one file of code that is the repository's own."""
    [model] = (stored.folder / "mlruns").glob("*/models/*/artifacts")
    of_a_load = {
        "registered_model_meta"
    }  # what MLflow and Python leave behind where the model was loaded
    files = {
        path.name
        for path in model.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    } - of_a_load
    assert {name.rpartition(".")[2] for name in files} == {
        "MLmodel",
        "json",
        "npz",
        "py",
        "txt",
        "yaml",
    }
    assert (model / "served_model.py").read_text() == Path(served_model.__file__).read_text()
    for line in (model / "requirements.txt").read_text().split():
        assert line.split("==")[0] in {"mlflow", "numpy"}


def test_registered_once_and_the_better_one_keeps_the_alias(
    tmp_path: Path, setting: Setting, parts: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = Arm("none", 0.0, 0.0, 1e-5, SHORT)
    with opened(tmp_path, setting, parts) as tracker:
        confirm(tracker, DROPOUT, parts)
        confirm(tracker, other, parts)
        tracker.finish()
        first = model_registry.register(tracker, DROPOUT)
        assert model_registry.register(tracker, DROPOUT) == first
        client = MlflowClient()
        client.set_model_version_tag(
            model_registry.NAME, "1", model_registry.TAG_VALIDATION, "0.99"
        )
        assert model_registry.register(tracker, other).endswith(
            "/2; the champion stays version 1, better on validation images"
        )
        client.set_model_version_tag(model_registry.NAME, "1", model_registry.TAG_VALIDATION, "0.0")
        assert model_registry.register(tracker, other).endswith("@champion (version 2)")
        client.set_model_version_tag(
            model_registry.NAME, "2", model_registry.TAG_VALIDATION, "0.99"
        )
        client.set_model_version_tag(
            model_registry.NAME, "2", schema.TAG_CONTENT, "another data set"
        )
        assert model_registry.register(tracker, DROPOUT).endswith("@champion (version 1)")
        assert len(client.search_model_versions(f"name = '{model_registry.NAME}'")) == 2
        assert "no question was asked" in model_registry.register(tracker, None)


def test_a_store_without_a_registry_breaks_nothing(
    tmp_path: Path, setting: Setting, parts: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "nowhere://at.all")
    with opened(tmp_path, setting, parts) as tracker:
        confirm(tracker, DROPOUT, parts)
        tracker.finish()
        told = model_registry.register(tracker, DROPOUT)
    assert (
        "not registered (" in told
        and "the same command tries again" in told
        and len(told.splitlines()) == 1
    )
    assert MlflowClient().get_run(tracker.run_id).info.status == "FINISHED"


class Doubled(Noise):
    """Evaluates in a way that it states nowhere in numbers."""

    rates = per_layer(Rate("nothing"))

    def at_evaluation(self) -> Noise:
        return self

    def hidden(self, layer: int, z: torch.Tensor, context: Context) -> torch.Tensor:
        return z.relu_().square()


def test_what_would_not_predict_the_same_is_no_model(
    tmp_path: Path, setting: Setting, parts: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(NOISE, "doubled", Doubled)
    arm = Arm("doubled", 0.5, 0.5, 1e-5, SHORT)
    with opened(tmp_path, setting, parts) as tracker:
        confirm(tracker, arm, parts)
        tracker.finish()
        assert "could not be kept as a model" in model_registry.register(tracker, arm)
    assert set(reader.load().table["arm"]) == {arm.name}


@pytest.mark.parametrize(("images_off", "kept"), [(0, True), (1, True), (-1, True), (2, False)])
def test_a_model_may_differ_from_its_run_by_one_image(
    setting: Setting, parts: Split, monkeypatch: pytest.MonkeyPatch, images_off: int, kept: bool
) -> None:
    """On a data set of any size: the sums of a float are no image."""
    few = replace(parts, test_x=parts.test_x[:130], test_y=parts.test_y[:130])
    monkeypatch.setattr(model.worker, "load_split", lambda setting: few)
    (trained,) = train_population([DROPOUT], [1000], few.subset(200), test=True)
    accuracy = trained.test["test/accuracy"] + images_off / 130
    trained = replace(trained, test={**trained.test, "test/accuracy": accuracy})
    logged: list[str] = []
    monkeypatch.setattr(model.mlflow, "start_run", lambda run_id: nullcontext())
    monkeypatch.setattr(model.mlflow.pyfunc, "log_model", lambda **more: logged.append("model"))
    model.log_model("run", trained, setting)
    assert bool(logged) == kept


def network(name: str) -> tuple[served_model.Network, Any, Noise]:
    """An untrained network of a noise type at rates 0.3, 0.5 and 0.2, as it is served and as
    it was trained."""
    kind, weights = noise_type(name), initialise((5,))
    rates = [
        min(max(rate, of.low), of.high)
        for rate, of in zip((0.3, 0.5, 0.2), kind.rates, strict=False)
    ]
    arm = Arm.of(name, rates, 1e-5, SHORT)
    with torch.no_grad():
        numbers = to_numbers(weights.network(0), arm)
    noise = kind(rate_table([arm]))
    return served_model.Network(numbers, kind.site, repeatable(arm)), weights, noise


def test_every_noise_type_is_served_as_it_is_evaluated(noise_name: str) -> None:
    served_network, weights, noise = network(noise_name)
    x = images(1, 50)[0]
    expected = predict(weights, noise.at_evaluation(), (5,), x).softmax(dim=2)[0].numpy()
    assert served_network.probabilities(x.numpy()) == pytest.approx(expected, abs=1e-6)


def test_noisy_passes_have_the_moments_of_training(noise_name: str) -> None:
    """Of types that can be repeated, against PyTorch's own passes; of a type without noise all
    passes are alike."""
    served_network, weights, noise = network(noise_name)
    if served_network.distribution is None:
        pytest.skip("its noise is not repeated")
    x, passes = images(1, 10)[0], 150
    mean, deviation = served_network.sampled(x.numpy(), passes, np.random.default_rng(1))
    if served_network.distribution == "none":
        assert deviation.max() == 0
        return
    stream = Stream((5,), "evaluation", x.device)
    drawn = torch.stack(
        [predict(weights, noise, (5,), x, stream).softmax(dim=2)[0] for _ in range(passes)]
    )
    spread = drawn.std(dim=0).numpy()  # of early dropout 0: its noise has ended
    assert np.abs(mean - drawn.mean(dim=0).numpy()).max() < 6 * spread.max() / passes**0.5 + 1e-6
    assert deviation.mean() == pytest.approx(spread.mean(), rel=0.1, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("none", "none"),
        ("dropout", "bernoulli"),
        ("late-dropout", "bernoulli"),
        ("r-drop", None),
        ("shift", None),
    ],
)
def test_which_noise_can_be_repeated(name: str, expected: str | None) -> None:
    rates = [0.2] * len(noise_type(name).rates)
    assert repeatable(Arm.of(name, rates, 1e-5, SHORT)) == expected


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("schedule", [early, late, curriculum])
def test_a_schedule_is_exported_at_its_end(
    monkeypatch: pytest.MonkeyPatch, schedule: Callable[[Tensor], Tensor], composed: bool
) -> None:
    """Whatever the type, its evaluation is that of the last step's rates."""
    kind = scheduled(schedule, Gain)
    if composed:
        kind = with_input(NOISE["input-dropout"], kind)
    monkeypatch.setitem(NOISE, "scheduled", kind)
    arm = Arm.of("scheduled", [0.3] * composed + [0.4, 0.2], 0.0, SHORT)
    numbers = to_numbers(initialise([1]).network(0), arm)
    end = float(schedule(torch.tensor(1.0)))
    expected = [1 / (1 - rate * end) for rate in (0.4, 0.2)]
    assert numbers["factor"] == pytest.approx(expected, abs=1e-6)


def test_a_schedule_within_a_schedule_is_exported_at_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def third(progress: Tensor) -> Tensor:
        return 1 - 2 * progress / 3

    def half(progress: Tensor) -> Tensor:
        return 1 - progress / 2

    monkeypatch.setitem(NOISE, "scheduled", scheduled(third, scheduled(half, Gain)))
    numbers = to_numbers(initialise([1]).network(0), Arm("scheduled", 0.4, 0.4, 0.0, SHORT))
    assert numbers["rate"] == pytest.approx(0.4 / 6, abs=1e-6)
    assert numbers["factor"] == pytest.approx(1 / (1 - 0.4 / 6), abs=1e-6)


def test_a_schedule_has_the_rates_of_its_end() -> None:
    ends = [
        make(name, 0.2).rates_at_the_end().max().item()
        for name in ("dropout", "late-dropout", "early-dropout")
    ]
    assert ends == pytest.approx([0.2, 0.2, 0.0])


def test_samples_that_cannot_be_had_are_refused() -> None:
    model, x = served_model.Champion(), images(1, 2)[0].numpy()
    model.noise, (model.network, *_) = "shift", network("shift")
    with pytest.raises(
        mlflow.exceptions.MlflowException, match="shift is not of a form that can be drawn here"
    ):
        model.predict(None, x, {"mc_samples": 10})
    assert set(model.predict(None, x, {})) == {"probabilities"}
    model.noise, (model.network, *_) = "dropout", network("dropout")
    for params, message in [({"mc_samples": 1}, "from 2 to 1000, not 1"), ({"mc_samples": -5}, "not -5"),
                            ({"mc_samples": 2, "mc_seed": -1}, "mc_seed is 0 or more")]:  # fmt: skip
        with pytest.raises(mlflow.exceptions.MlflowException, match=message):
            model.predict(None, x, params)


def test_the_best_arm_is_the_best_on_validation_images() -> None:
    table = pd.DataFrame(
        [(phase, arm, 100, score) for phase, arm, score in [
            (schema.RERANK, "a", 0.7), (schema.RERANK, "b", 0.8), (schema.RERANK, "c", 0.9),
            (schema.SEARCH, "a", 0.95), (schema.CONFIRM, "a", 0.99)]],
        columns=["phase", "arm", "seed", "val/accuracy"],
    )  # fmt: skip
    assert selection.best_reranked(table, ["a", "b"], "val/accuracy") == "b"
    assert selection.best_reranked(table, ["d"], "val/accuracy") is None
    assert (
        selection.best_reranked(
            table.rename(columns={"val/accuracy": "val/loss"}), ["a", "b"], "val/loss"
        )
        == "a"
    )


def post(port: int, path: str, body: dict[str, Any] | str | None = None) -> tuple[int, Any]:
    """Status and answer of a server on this machine; a text is CSV."""
    kind = "text/csv" if isinstance(body, str) else "application/json"
    text = body if isinstance(body, str) else json.dumps(body)
    data = None if body is None else text.encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": kind})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=60
        ) as answer:
            return answer.status, json.loads(answer.read().strip() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.slow
def test_it_serves_in_a_fresh_environment_of_its_own_requirements(
    stored: Stored, tmp_path: Path
) -> None:
    """Loads, predicts all test images and answers `mlflow models serve`; torch and this project are
    not there."""
    place = tmp_path / "fresh"
    venv.create(place, with_pip=True, symlinks=True)
    requirements = mlflow.pyfunc.get_model_dependencies(
        f"models:/{model_registry.NAME}@{model_registry.ALIAS}"
    )
    subprocess.run(
        [place / "bin/python", "-m", "pip", "install", "-q", "-r", requirements], check=True
    )
    check_answers(ask_elsewhere(stored, str(place / "bin/python"), "torch", "models"), stored)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = f"{place}/bin/mlflow models serve -m models:/{model_registry.NAME}@{model_registry.ALIAS} --env-manager local"
    server = subprocess.Popen(
        [*command.split(), "-h", "127.0.0.1", "-p", str(port)],
        cwd=stored.folder, env={**stored.environment, "PATH": f"{place}/bin:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 300
        while time.monotonic() < until and server.poll() is None:
            try:
                post(port, "/ping")
                break
            except OSError:
                time.sleep(0.5)
        x = np.load(stored.folder / "x.npy")[:20]
        raw = np.rint(255 * x.reshape(-1, 28, 28)).astype(int)
        status, answer = post(
            port, "/invocations", {"inputs": raw.tolist(), "params": {"mc_samples": 20}}
        )
        assert status == 200, answer
        predicted = answer["predictions"]
        assert np.shape(predicted["mc_standard_deviation"]) == (20, 10)
        assert np.mean(predicted["mc_standard_deviation"]) > 0
        status, answer = post(port, "/invocations", {"instances": x.tolist()})
        assert status == 200, answer
        assert answer["predictions"]["probabilities"] == pytest.approx(
            np.array(predicted["probabilities"]), abs=1e-5
        )
        columns = [f"pixel{i}" for i in range(784)]
        rows = [",".join(map(str, row)) for row in x]
        for body in (
            {"inputs": {"images": x.tolist()}},
            {"instances": [{"images": row} for row in x.tolist()]},
            {"dataframe_split": {"columns": columns, "data": x.tolist()}},
            "\n".join([",".join(columns), *rows]),
        ):
            status, answer = post(port, "/invocations", body)
            assert status == 200, answer
            assert answer["predictions"]["probabilities"] == pytest.approx(
                np.array(predicted["probabilities"]), abs=1e-5
            )
        status, _ = post(port, "/invocations", {"inputs": [[1.0], [1.0, 2.0]]})
        assert status == 400  # by MLflow itself, which makes an array of it first
        for wrong in (x[:, :100].tolist(), x[:0].tolist()):
            status, answer = post(port, "/invocations", {"inputs": wrong})
            assert status == 400 and "expected raw images of shape (n, 28, 28)" in answer["message"]
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)
