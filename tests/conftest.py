"""What several test files share: the real data, fetched once, and a small part of it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import Call

from analysis.schema import Declaration
from models.data import Images, Split, load, split
from models.noise import NOISE, noise_type
from study.commands.cli import main
from study.declaration import declare
from study.presets import SMOKE
from study.trial import Setting

torch.set_num_threads(
    1
)  # as a study trains; tests that run beside other work do not wait at barriers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--noise",
        default="",
        help="more noise types to test: package.module:Class, comma-separated",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `noise_name` runs for every type of the registry, and for those of
    `--noise`."""
    if "noise_name" in metafunc.fixturenames:
        more = [
            name.strip() for name in metafunc.config.getoption("--noise").split(",") if name.strip()
        ]
        for name in more:
            noise_type(name)
        metafunc.parametrize("noise_name", [*NOISE, *more])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole studies first: a file of them that comes last keeps one worker waiting for minutes."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


@pytest.fixture(scope="session")
def folder() -> Path:
    """A data folder shared by all sessions, so that the data is fetched once."""
    path = Path(os.environ.get("DROPOUT_STUDY_DATA") or Path(__file__).parents[1] / "data")
    load("fashion-mnist", path)
    return path


@pytest.fixture(scope="session")
def images(folder: Path) -> Images:
    return load("fashion-mnist", folder)


@pytest.fixture(scope="session")
def parts(images: Images) -> Split:
    return split(images)


@pytest.fixture(scope="session")
def small(parts: Split) -> Split:
    """A part of the real data: 1,000 training images (4 steps an epoch, the last of 232), 500 to
    validate and test."""
    part = parts.subset(1000)
    held_out = {
        name: getattr(parts, name)[:500]
        for name in ("validation_x", "validation_y", "test_x", "test_y")
    }
    return replace(part, **held_out)


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Call:
    """Runs the command line in a fresh folder with a fresh store; gives its exit code and standard
    error."""
    import mlflow  # takes seconds, and the contract on a noise type does without

    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["study", *arguments])
        capfd.readouterr()  # what the test itself did to the store
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capfd.readouterr().err

    return run


@pytest.fixture(scope="module")
def setting(folder: Path) -> Setting:
    return Setting("fashion-mnist", str(folder), "cpu")


@pytest.fixture(scope="module")
def declared(setting: Setting, parts: Split) -> Declaration:
    """A study that tests of tracking log."""
    return declare(SMOKE, ("none", "dropout"), 0.8, parts, setting)
