"""A noise type from outside: what docs/own-noise.md shows works, and what cannot work is told in
one line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from analysis import schema
from analysis.schema import Contrast
from analysis.store import reader
from models.config import Arm, Recipe
from models.data import Split
from models.noise import NOISE, noise_type, noise_version, plugins
from study import search_space
from study.commands.cli import main
from study.declaration import pick_noise_types
from study.planning import timing
from study.planning.dry_run import planned_trials
from study.presets import CLASSIC, PRESETS
from study.trial import Setting, Trial

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "own-noise.md").read_text()
SMOKE = PRESETS["smoke"]
TINY = replace(
    SMOKE.asking(["beat-dropout"]),
    trials_per_type=1,
)
BROKEN = """
import torch
from models.noise import Noise, Rate, per_layer

class Raises(Noise):
    rates = per_layer(Rate("nothing"))
    def hidden(self, layer, z, context):
        raise TypeError("no such\\nlayer")

class NoRates(Noise):
    rates = (0.2, 0.5)

class ManyRates(Noise):
    rates = (Rate("one of four"),) * 4

class Other:
    pass

number = 3
"""


def run_tiny() -> None:
    """The command line, with `smoke` cut down; called in a process of its own."""
    PRESETS["smoke"] = TINY
    main()


def guide(kind: str) -> str:
    """The guide's one block of a kind."""
    (block,) = re.findall(rf"```{kind}\n(.*?)```", GUIDE, flags=re.DOTALL)
    return block


def study(where: Path, mine: Path, noise: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A tiny study, by the real command line in a process of its own, with the folder `mine` on
    PYTHONPATH."""
    return subprocess.run(
        [sys.executable, "-c", "from tests.models.test_noise_plugins import run_tiny; run_tiny()",
         "study", "--preset", "smoke", "--noise", noise, "--data", str(folder.resolve())],
        cwd=where, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{mine}", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
    )  # fmt: skip


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on Python's path with the guide's file, and a broken one; what is imported from it
    is forgotten."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "blink.py").write_text(guide("python"))
    (folder / "broken.py").write_text(BROKEN)
    (folder / "needs.py").write_text("import no_such_thing")
    (folder / "raises.py").write_text("raise RuntimeError('not today\\nnor tomorrow')")
    (folder / "typo.py").write_text("class Blink(:")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder
    forget()


def forget() -> None:
    """As a new process."""
    plugins._loaded.cache_clear()
    for module in ("blink", "broken", "needs", "raises", "typo"):
        sys.modules.pop(module, None)


def plug_in(folder: Path, package: str, *entries: str) -> None:
    """What pip leaves of an installed package with these entry points."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join([f"[{plugins.GROUP}]", *entries]))


def test_the_guides_type_and_a_plug_in_stand_in_the_report(
    mine: Path, tmp_path: Path, folder: Path
) -> None:
    """Beside the others, in every file that a study writes; a type that raises fails alone, in one
    line."""
    plug_in(mine, "blink-noise", "blink = blink:Blink")
    done = study(tmp_path, mine, "blink,blink:Blink,broken:Raises", folder)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    told = "noise type broken:Raises failed in training: TypeError: no such (broken.py, line 8)"
    assert done.stderr.count(told) == 1
    assert "1 trial failed and was excluded: broken:Raises(" in done.stderr

    found = tmp_path / "results"
    rows = json.loads((found / "answers.json").read_text())
    mine_too = ("blink", "blink:Blink", "broken:Raises")
    assert {row["contrast"] for row in rows} == {
        "dropout - none", *(f"{one} - {rival}" for one in mine_too for rival in ("dropout", "none"))
    }  # fmt: skip
    for row in rows:
        assert (row["verdict"] == "not answered") == row["contrast"].startswith("broken"), row
        assert row["verdict"] == "not answered" or row["n_seeds"] == 3
    assert any(
        name.startswith("blink:Blink(") for row in rows for name in row["coefficients"] or ()
    )
    for page in ("report.md", "index.html", "run_table.csv"):
        assert "blink:Blink" in (found / page).read_text()

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    read = reader.load()  # which needs neither file nor plug-in
    assert [trial.status for trial in read.failed] == ["FAILED"]
    assert read.declaration.noise_types == ("none", "dropout", *mine_too)
    versions = read.declaration.search_space["noise_versions"]
    assert versions == {name: plugins.version(name) for name in mine_too}
    arms = set(read.table.loc[read.table["noise"] == "blink:Blink", "arm"])
    assert arms and all(
        re.fullmatch(r"blink:Blink\(\S+,\S+\) wd=\S+ glimpse( x\S+)?@4", arm) for arm in arms
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "nowhere:Blink",
            "there is no module nowhere: run where it lies, or put its folder on PYTHONPATH",
        ),
        ("nowhere.at.all:Blink", "there is no module nowhere.at.all"),
        ("blink.py:Blink", "there is no module blink.py: "),
        ("mine/blink.py:Blink", "is not of the form package.module:Class"),
        ("blink:", "is not of the form package.module:Class"),
        (":Blink", "is not of the form package.module:Class"),
        ("blink:Blonk", "module blink has no Blonk: its classes are Blink"),
        (
            "broken:Other",
            "noise type broken:Other is not a noise type: make it a subclass of models.noise.Noise",
        ),
        ("broken:number", "is not a noise type"),
        ("broken:NoRates", "rates must be a tuple of at most 3 Rate"),
        ("broken:ManyRates", "rates must be a tuple of at most 3 Rate"),
        (
            "needs:Blink",
            "importing needs failed: ModuleNotFoundError: No module named 'no_such_thing'",
        ),
        ("raises:Blink", "importing raises failed: RuntimeError: not today"),
        ("typo:Blink", "importing typo failed: SyntaxError: invalid syntax"),
        ("blonk", "unknown noise type blonk: docs/noise.md lists all"),
        ("", "unknown noise type '': docs/noise.md lists all"),
        (
            "late",
            "noise type late of package late-noise cannot be loaded from nowhere:Late: "
            "ModuleNotFoundError",
        ),
        (
            "twice",
            "noise type twice of package late-noise and noise type twice of package more-noise "
            "have one name",
        ),
        (
            "all",
            "noise type dropout of package late-noise takes the name of a registered noise type",
        ),
    ],
)
@pytest.mark.parametrize("command", ["study", "plan"])
def test_a_bad_name_is_one_line_and_exit_2(
    mine: Path, command: str, name: str, expected: str, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    plug_in(
        mine, "late-noise", "late = nowhere:Late", "dropout = blink:Blink", "twice = blink:Blink"
    )
    plug_in(mine, "more-noise", "twice = blink:Blink")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["study", command, "--noise", f"gaussian, {name}"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capfd.readouterr().err.strip()
    assert ended.value.code == 2
    assert told.startswith("error: ") and len(told.splitlines()) == 1
    assert expected in told


def test_a_broken_plug_in_breaks_only_itself(mine: Path) -> None:
    plug_in(
        mine, "late-noise", "late = nowhere:Late", "dropout = blink:Blink", "blink = blink:Blink"
    )
    assert pick_noise_types("preset,blink", SMOKE) == (*SMOKE.noise_types, "blink")
    assert noise_type("dropout") is NOISE["dropout"]


def test_types_stand_in_the_order_of_registry_plug_ins_and_names(mine: Path) -> None:
    plug_in(mine, "blink-noise", "winks = blink:Blink", "blink = blink:Blink")
    mine_too = ("broken:Raises", "blink:Blink")
    assert pick_noise_types("preset", SMOKE) == SMOKE.noise_types
    assert pick_noise_types("all", SMOKE) == (*NOISE, "blink", "winks")
    assert pick_noise_types(f"{','.join(mine_too)},all", SMOKE) == (
        *NOISE,
        "blink",
        "winks",
        *mine_too,
    )
    assert pick_noise_types("winks, uniform,blink:Blink,winks", SMOKE) == (
        *("none", "dropout", "uniform"),
        *("winks", "blink:Blink"),
    )


def test_the_guides_entry_point_names_the_guides_class(mine: Path) -> None:
    import tomllib

    entries = tomllib.loads(guide("toml"))["project"]["entry-points"][plugins.GROUP]
    plug_in(mine, "blink-noise", *(f"{name} = {value}" for name, value in entries.items()))
    assert noise_type("blink") is noise_type("blink:Blink")


def test_another_version_of_the_code_is_another_trial(mine: Path) -> None:
    """The hash changes with the file, not within a process; a registered type's has no part in
    it."""

    def hashed(noise: str) -> str:
        arm = Arm(noise, 0.2, 0.2, 0.0, Recipe("book", 10))
        return Trial(arm, (1,), schema.SEARCH).hash(Setting("mnist", "data", "cpu"), "data")

    first, dropout, space_before = (
        hashed("blink:Blink"),
        hashed("dropout"),
        search_space.declared(("none", "blink:Blink"), SMOKE.recipes),
    )
    (mine / "blink.py").write_text(guide("python") + "\n# another version\n")
    assert hashed("blink:Blink") == first
    forget()
    assert hashed("blink:Blink") != first and hashed("dropout") == dropout
    assert search_space.declared(("none", "blink:Blink"), SMOKE.recipes) != space_before
    assert noise_version("dropout") is None and "noise_versions" not in search_space.declared(
        CLASSIC, SMOKE.recipes
    )


def test_a_file_that_holds_only_a_base_counts_too(mine: Path) -> None:
    (mine / "typo.py").write_text("import blink\n\nclass Wink(blink.Blink):\n    pass\n")
    first = noise_version("typo:Wink")
    (mine / "blink.py").write_text(guide("python") + "\n# another version\n")
    forget()
    assert noise_version("typo:Wink") != first


def test_the_plan_counts_a_type_with_one_rate_or_a_low_one(mine: Path) -> None:
    (mine / "typo.py").write_text(
        "from models.noise import Noise, Rate\n\nclass One(Noise):\n    rates = (Rate('r', 0.05, "
        "high=0.1),)\n"
    )
    assert {
        trial.arm.name.split()[0]
        for trial in planned_trials(SMOKE, ("none", "dropout", "typo:One"))
    } >= {"typo:One(0.1)"}


def test_the_plan_of_a_type_that_fails_is_a_line(
    mine: Path, small: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "SECONDS", 0.1)
    monkeypatch.setattr(timing, "load_split", lambda setting: small)
    raising = Trial(Arm("broken:Raises", 0.5, 0.5, 0.0, Recipe("short", 1)), (1,), schema.SEARCH)
    with pytest.raises(
        timing.CannotTime,
        match=r"broken:Raises failed in training: TypeError: no such \(broken.py, line",
    ):
        timing.probe([[raising]], Setting("", "", "cpu"))


def test_a_colon_in_a_label_is_no_metric() -> None:
    terms = {
        "tuned blink:Blink": 1.0,
        schema.term("tuned blink:Blink", "test/loss"): -1.0,
        "tuned none": 1.0,
    }
    assert Contrast("x", "short", "test/accuracy", terms, 0.002).terms == [
        ("tuned blink:Blink", "test/accuracy", 1.0),
        ("tuned blink:Blink", "test/loss", -1.0),
        ("tuned none", "test/accuracy", 1.0),
    ]


def test_a_composed_type_has_the_version_of_its_parts(mine: Path) -> None:
    """The class is made in this repository; what counts is the file that names it, and those of
    what it is made of."""
    (mine / "typo.py").write_text(
        "import blink\nfrom models.noise.schedules import early, scheduled\nWinks = "
        "scheduled(early, blink.Blink)\n"
    )
    first = noise_version("typo:Winks")
    (mine / "blink.py").write_text(guide("python") + "\n# another version\n")
    forget()
    second = noise_version("typo:Winks")
    (mine / "typo.py").write_text((mine / "typo.py").read_text() + "# another version\n")
    forget()
    assert len({first, second, noise_version("typo:Winks")}) == 3
