"""The report of a synthetic store: what stands in it, that it can be recomputed, and that it comes
out the same."""

import json
import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import mlflow
import numpy as np
import pandas as pd
import pytest
import synthetic
from cycler import cycler
from matplotlib import pyplot as plt
from scipy import stats

from analysis import answer, formatting, load_runs, questions, schema
from analysis.plots import forest, search, style
from analysis.plots.style import to_svg
from analysis.report import checks, next_study, page, tables, writer
from analysis.report.escaping import map_texts
from analysis.report.folder import FIXED, ForeignFiles, figure_names
from analysis.stats.contrast_table import NUMBERS, contrast_table
from analysis.store import reader
from analysis.store.search_trials import search_trials
from analysis.store.uri import StoreError
from study import presets
from study.commands.cli import cli

ROOT = Path(__file__).parents[2]
DECAY = "50,000 images, 4 epochs"
"""The synthetic study's recipe, in words."""
OPTIONAL = ("p_candidate", "ci_crossed_low", "ci_crossed_high")
FIELDS = {
    "question", "contrast", "metric", "recipe", "estimate", "ci_low", "ci_high", "p_value", "p_adjusted",
    "p_candidate", "effect_size", "n_seeds", "margin", "alpha", "verdict", "sentence", "run_ids", "declared_hash",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def study(folder):
    before = mlflow.get_tracking_uri()
    synthetic.use_store(folder)
    synthetic.write_study()
    yield reader.load()
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    assert writer.write(study, place) == place / "index.html"
    return place


@pytest.fixture(scope="module")
def small(study):
    """The swap question alone, without a search: quick to report."""
    declared = replace(study.declaration, questions=study.declaration.questions[:1])
    return without(replace(study, declaration=declared), study.table["phase"] != schema.CONFIRM)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def without(study: reader.Study, mask: pd.Series) -> reader.Study:
    return replace(study, table=study.table.loc[~mask].reset_index(drop=True))


class Links(HTMLParser):
    """Collects what a page refers to, and all its text."""

    def __init__(self, page: str):
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "poster", "data", "srcset"):
                self.targets.append(str(value))
            if name == "id":
                self.ids.add(str(value))


def test_the_folder_holds_the_page_its_twin_the_figures_and_the_files_for_machines(written):
    figures = {f"figures/{name}.svg" for name in ("overview", "swap", "additivity", "beat-dropout")}
    figures |= {f"figures/search-{name}-decay.svg" for name in ("budget", "rates")}
    machine = {"answers.json", "run_table.csv", "declaration.json", "arms.json"}
    machine |= {"report_files.json"}
    assert set(contents(written)) == figures | {"index.html", "report.md"} | machine


def test_the_page_needs_nothing_from_outside(written):
    page = (written / "index.html").read_text()
    links = Links(page)
    assert links.targets
    assert all(target.startswith(("data:image/svg+xml;base64,", "#")) for target in links.targets)
    assert {target[1:] for target in links.targets if target.startswith("#")} <= links.ids
    assert not links.tags & {"script", "link", "iframe", "object"}
    assert "url(" not in page and "@import" not in page
    for figure in (written / "figures").iterdir():
        assert f'href="{"http"}' not in figure.read_text()


def test_the_markdown_shows_figures_that_exist_and_tables_that_close(written):
    text = (written / "report.md").read_text()
    shown = re.findall(r"!\[.*\]\((.*)\)", text)
    assert sorted(shown) == sorted(
        str(p.relative_to(written)) for p in (written / "figures").iterdir()
    )
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(blocks) > 10
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block


def test_the_same_store_gives_the_same_bytes(study, written, tmp_path):
    writer.write(reader.load(study.study_id), tmp_path)
    assert contents(tmp_path) == contents(written)


def test_a_copy_of_the_store_gives_the_same_bytes_on_a_fresh_machine(
    folder, study, written, tmp_path
):
    """Another folder, another process, another order of sets and hashes."""
    shutil.copytree(folder, tmp_path / "copy")
    with sqlite3.connect(tmp_path / "copy" / "mlflow.db") as database:
        old, new = (folder / "artifacts").as_uri(), (tmp_path / "copy" / "artifacts").as_uri()
        database.execute("update runs set artifact_uri = replace(artifact_uri, ?, ?)", (old, new))
    database.close()
    code = (
        "import sys, pathlib; from analysis.report import writer; from analysis.store import "
        "reader; writer.write(reader.load(), pathlib.Path(sys.argv[1]))"
    )
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]),
        "PYTHONHASHSEED": "7",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/copy/mlflow.db",
        "TZ": "Asia/Tokyo",
        "COLUMNS": "20",
    }
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        env=environment,
        cwd=tmp_path,
        check=True,
    )
    assert contents(tmp_path / "out") == contents(written)


def test_no_path_of_this_machine_and_no_time_of_day_is_in_the_report(folder, written):
    for name, data in contents(written).items():
        text = data.decode()
        assert str(folder.parent) not in text and str(Path.home()) + "/" not in text, name
        assert not re.search(r"\b\d\d:\d\d:\d\d\b", text), name


def test_answers_json_has_the_promised_fields_and_real_runs(study, written):
    rows = json.loads((written / "answers.json").read_text())
    declared = [
        contrast for question in study.declaration.questions for contrast in question.contrasts
    ]
    assert [(row["contrast"], row["metric"]) for row in rows] == [
        (c.name, c.metric) for c in declared
    ]
    hashes = {question.name: question.hash for question in study.declaration.questions}
    for row in rows:
        assert set(row) >= FIELDS
        assert row["declared_hash"] == hashes[row["question"]]
        assert row["run_ids"] and set(row["run_ids"]) <= set(study.table["run_id"])
        assert row["verdict"] and row["sentence"]
        assert (row["p_candidate"] is None) == (row["candidate"] == "")


def test_every_estimate_can_be_recomputed_from_the_two_files_alone(written):
    table = pd.read_csv(written / "run_table.csv")
    for row in json.loads((written / "answers.json").read_text()):
        used = table[table["run_id"].isin(row["run_ids"])]
        scores = used.pivot(index="seed", columns="arm", values=row["metric"])
        coefficients = pd.Series(row["coefficients"])
        values = (scores[coefficients.index] * coefficients).sum(axis=1).to_numpy()
        result = stats.ttest_1samp(values, 0)
        low, high = result.confidence_interval(0.95)
        assert len(values) == row["n_seeds"]
        assert row["estimate"] == pytest.approx(values.mean(), abs=1e-12)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-12)
        assert row["p_value"] == pytest.approx(result[1], rel=1e-6)
        assert row["effect_size"] == pytest.approx(values.mean() / values.std(ddof=1), rel=1e-6)


def test_the_csv_is_the_run_table_to_the_last_digit(study, written):
    read = pd.read_csv(written / "run_table.csv", dtype=str, keep_default_na=False)
    assert list(read.columns) == list(schema.RUN_TABLE)
    for name, dtype in schema.RUN_TABLE.items():
        typed = (
            [float(cell or "nan") for cell in read[name]]
            if dtype == "float64"
            else [cell or None for cell in read[name]]
        )
        column = study.table[name] if dtype == "float64" else study.table[name].astype("string")
        pd.testing.assert_series_equal(
            pd.Series(typed, dtype=column.dtype, name=name), column, check_exact=True
        )


def test_the_page_shows_every_declared_contrast_with_its_verdict(study, written):
    page, text = (written / "index.html").read_text(), (written / "report.md").read_text()
    for row in json.loads((written / "answers.json").read_text()):
        line = next(
            line
            for line in text.splitlines()
            if line.startswith(f"| {row['contrast']} | {row['verdict']} |")
        )
        assert str(row["n_seeds"]) in line
        assert row["declared_hash"] in page
    for words in (
        study.study_id,
        study.commit,
        "with uncommitted changes",
        "FAILED",
        "KILLED",
        "torch",
        "0123456789ab",
    ):
        assert words in page and words in text


def test_missing_seeds_show(small, tmp_path):
    """One arm loses one seed: what needs it is not averaged over the rest in silence."""
    arm = small.arms["decay"]["dropout(0.1,0.5)"]
    lost = (small.table["arm"] == arm) & (small.table["seed"] == 103)
    writer.write(without(small, lost), tmp_path)
    page = (tmp_path / "index.html").read_text()
    rows = json.loads((tmp_path / "answers.json").read_text())
    assert [row["contrast"] for row in rows] == [
        one.name for one in small.declaration.questions[0].contrasts
    ]
    for row in rows:
        refused = row["contrast"] == "dropout (0.1, 0.5) - (0.5, 0.1)"
        assert (
            (row["verdict"] == "not answered") == refused == ("lacks seed 103" in row["sentence"])
        )
        assert (row["run_ids"] == []) == refused
        assert all((row[name] is None) == refused for name in NUMBERS if name not in OPTIONAL)
    assert "not answered" in page
    assert "2 declared contrasts of 6 could not be answered" in page
    assert "103" in page


def test_a_study_cut_off_before_its_confirmation_still_gives_a_report(study, tmp_path):
    cut = replace(without(study, study.table["phase"] == schema.CONFIRM), arms={})
    writer.write(cut, tmp_path)
    rows = json.loads((tmp_path / "answers.json").read_text())
    assert len(rows) == 24 and {row["verdict"] for row in rows} == {"not answered"}
    assert all("no arm was picked" in row["sentence"] for row in rows)
    assert (
        "24 declared contrasts of 24 could not be answered" in (tmp_path / "index.html").read_text()
    )


def test_a_study_without_a_single_run_still_gives_a_report(study, tmp_path):
    writer.write(replace(study, table=study.table.iloc[:0], arms={}, failed=()), tmp_path)
    assert "This study has no search trials" in (tmp_path / "index.html").read_text()


EVIL = '<script>alert(1)</script><img src=x onerror=alert(1)>"onmouseover="alert(1)](javascript:alert(1))'
"""In place of a noise type, and in all that is named by it: arms, labels, contrasts, runs."""
WAY_OUT = "../../../out/<b>decay"
"""In place of a recipe, by which figures are named."""


def spoilt(value):
    """The same, with the two names in place of the ones that the synthetic study has."""
    if isinstance(value, str):
        return (
            value.replace("gaussian", EVIL).replace("decay", WAY_OUT)
            if value != "weight decay"
            else value
        )
    if isinstance(value, dict):
        return {spoilt(key): spoilt(one) for key, one in value.items()}
    return [spoilt(one) for one in value] if isinstance(value, list) else value


def shape(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """The tags of a page, each with the names of its attributes."""

    class Tags(HTMLParser):
        found: list[tuple[str, tuple[str, ...]]] = []

        def handle_starttag(self, tag, attrs):
            self.found.append((tag, tuple(name for name, _ in attrs)))

    Tags.found = []
    Tags().feed(page)
    return Tags.found


@pytest.fixture(scope="module")
def doubtful(study):
    """With every kind of text that a page shows, of the one question that names a noise type."""
    lost = study.table["noise"].eq("gaussian") & study.table["seed"].eq(103)
    cut = without(study, lost & study.table["phase"].eq(schema.CONFIRM))
    declared = replace(study.declaration, questions=study.declaration.questions[2:])
    return replace(
        cut,
        declaration=declared,
        confirmed_elsewhere={"beat-dropout": ("a",)},
        versions={"a": {"b": "c"}},
    )


@pytest.fixture(scope="module")
def hostile(doubtful):
    columns = ("noise", "arm", "recipe", "device", "data_digest")
    return replace(
        doubtful,
        experiment=EVIL,
        commit=EVIL,
        versions={EVIL: {EVIL: EVIL}},
        confirmed_elsewhere={"beat-dropout": (EVIL,)},
        declaration=schema.Declaration.from_json(
            json.dumps(spoilt(json.loads(doubtful.declaration.to_json())))
        ),
        arms=spoilt(doubtful.arms),
        table=doubtful.table.assign(**{name: doubtful.table[name].map(spoilt) for name in columns}),
        failed=tuple(
            replace(one, name=EVIL, arm=EVIL, phase=EVIL, run_id=EVIL) for one in doubtful.failed
        ),
    )


def test_what_the_store_holds_cannot_become_markup_or_leave_the_folder(
    doubtful, hostile, tmp_path, monkeypatch
):
    """The page has the tags that it has with harmless names, and the Markdown no HTML and no link.
    Nothing is drawn."""

    def recipes(study):
        return dict.fromkeys(study.declaration.recipes)

    monkeypatch.setattr(writer, "to_svg", lambda figure: b"<svg/>")
    monkeypatch.setattr(forest, "question_figure", lambda *arguments: None)
    monkeypatch.setattr(writer.search, "rate_figures", recipes)
    monkeypatch.setattr(writer.search, "budget_figures", lambda study: {})
    writer.write(doubtful, tmp_path / "plain")
    place = tmp_path / "a" / "b" / "hostile"
    writer.write(hostile, place)
    page, text = (place / "index.html").read_text(), (place / "report.md").read_text()
    assert (
        "lacks seed 103" in page
        and page.count("&lt;script&gt;") > 30
        and text.count("&lt;script>") > 30
    )
    assert shape(page) == shape((tmp_path / "plain" / "index.html").read_text())
    assert set(re.findall(r"<[A-Za-z/!?]\w*", text)) == {
        "<details",
        "<summary",
        "</summary",
        "</details",
    }
    shown = re.findall(r"\]\((.*?)\)", text)
    assert shown and all((place / path).is_file() for path in shown)
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "a"}


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # the names are long
def test_a_drawing_shows_the_letters_of_a_hostile_name(hostile):
    (answer,) = answers_of(hostile)
    nodes = ElementTree.fromstring(to_svg(answer.figure())).iter()
    for node in nodes:
        assert not node.tag.endswith(("script", "img", "foreignObject"))
        assert not [name for name in node.attrib if name.startswith("on")]


def test_a_report_that_cannot_be_computed_leaves_the_earlier_one(
    small, written, monkeypatch, tmp_path
):
    place = tmp_path / "report"
    shutil.copytree(written, place)
    monkeypatch.setattr(writer, "to_svg", lambda figure: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writer.write(small, place)
    assert contents(place) == contents(written)


def test_a_question_that_this_version_does_not_know_is_told(small, tmp_path):
    unknown = replace(small.declaration.questions[0], name="horizon")
    later = replace(small, declaration=replace(small.declaration, questions=(unknown,)))
    for ask in (lambda: writer.write(later, tmp_path), lambda: answer("horizon", later)):
        with pytest.raises(
            StoreError, match="asks 'horizon', .*: read the study with the commit that ran it"
        ):
            ask()
    assert not list(tmp_path.iterdir())


def test_a_dollar_in_a_name_is_no_formula(small):
    """The names of recipes and arms come from the store; a broken formula would raise, a whole one
    change the name."""
    name = r"dec$\frac$ay"
    (question,) = small.declaration.questions
    contrasts = tuple(
        replace(one, name=f"{name}: {one.name}", recipe=name) for one in question.contrasts
    )
    table = small.table.assign(recipe=name)
    answered = questions.answer(
        replace(question, contrasts=contrasts), table, {name: small.arms[synthetic.RECIPE]}
    )
    assert to_svg(answered.figure())


def test_a_logarithmic_axis_has_plain_numbers(study):
    figure = search.rate_figures(study)[synthetic.RECIPE]
    assert to_svg(figure)
    axes = [ax for ax in figure.axes if ax.get_xscale() == "symlog"]
    labels = [label.get_text() for ax in axes for label in ax.get_xticklabels()]
    assert axes and "1e-05" in labels and not [text for text in labels if "$" in text]


def test_figures_of_an_earlier_report_do_not_linger(study, small, tmp_path):
    writer.write(study, tmp_path)
    assert (tmp_path / "figures" / "additivity.svg").exists()
    writer.write(small, tmp_path)
    assert not (tmp_path / "figures" / "additivity.svg").exists()
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == set(
        json.loads((tmp_path / "report_files.json").read_text())["files"]
    )


def test_a_report_keeps_all_files_that_no_report_wrote(small, tmp_path):
    own = ["figures/my-diagram.svg", "figures/photo.png", "thesis.tex", "index.htm", "data/a.csv"]
    for name in own:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    for _ in range(2):
        writer.write(small, tmp_path)
        assert [(tmp_path / name).read_text() for name in own] == ["mine"] * len(own)


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "report.md",
        "answers.json",
        "run_table.csv",
        "declaration.json",
        "arms.json",
        "report_files.json",
        "figures/swap.svg",
        "figures/search-rates-decay.svg",
        "figures",
    ],
)
def test_a_folder_with_somebodys_file_under_a_name_of_the_reports_is_refused(small, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ForeignFiles, match=re.escape(f"holds {name}, which no report")) as error:
        writer.write(small, tmp_path)
    assert "\n" not in str(error.value) and "--output" in str(error.value)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()} == {name}
    assert (tmp_path / name).read_text() == "mine"


def test_a_report_of_older_code_is_replaced_but_not_what_lies_beside_it(study, small, tmp_path):
    writer.write(study, tmp_path)
    (tmp_path / "report_files.json").unlink()
    (tmp_path / "figures" / "my-diagram.svg").write_text("mine")
    writer.write(small, tmp_path)
    assert not (tmp_path / "figures" / "additivity.svg").exists()
    assert (tmp_path / "figures" / "my-diagram.svg").read_text() == "mine"


def test_a_list_of_files_that_leads_out_of_the_folder_deletes_nothing(small, tmp_path):
    (tmp_path / "outside.svg").write_text("mine")
    place = tmp_path / "report"
    writer.write(small, place)
    backslash = "figures/..\\outside.svg"  # leads out on Windows; elsewhere a name like any other
    (place / backslash).write_text("mine")
    names = [
        "../outside.svg",
        "figures/../../outside.svg",
        str(tmp_path / "outside.svg"),
        backslash,
    ]
    figures = ["figures/swap.svg", "figures/overview.svg"]
    (place / "report_files.json").write_text(
        json.dumps({"written by": "dropout-study", "files": [*names, *FIXED, *figures]})
    )
    writer.write(small, place)
    assert (tmp_path / "outside.svg").read_text() == (place / backslash).read_text() == "mine"


RC: dict[Any, Any] = {
    "text.usetex": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "theirs",
    "svg.image_inline": False,
    "font.family": "serif",
    "font.size": 20.0,
    "figure.dpi": 40.0,
    "figure.facecolor": "black",
    "figure.constrained_layout.h_pad": 1.0,
    "savefig.dpi": 30.0,
    "savefig.bbox": "tight",
    "savefig.facecolor": "red",
    "savefig.transparent": True,
    "axes.facecolor": "yellow",
    "axes.grid": False,
    "axes.linewidth": 5.0,
    "axes.formatter.use_locale": True,
    "axes.formatter.limits": [0, 0],
    "axes.unicode_minus": False,
    "axes.xmargin": 0.4,
    "axes.prop_cycle": cycler(color=["red"]),
    "lines.linewidth": 9.0,
    "lines.markersize": 20.0,
    "lines.antialiased": False,
    "patch.linewidth": 9.0,
    "legend.fontsize": 30.0,
    "legend.frameon": True,
    "xtick.direction": "in",
    "xtick.minor.visible": True,
    "ytick.labelsize": 30.0,
    "image.cmap": "gray",
    "path.simplify": False,
    "hatch.linewidth": 5.0,
    "date.converter": "concise",
    "errorbar.capsize": 9.0,
}


def test_no_setting_of_matplotlib_changes_a_figure(study, written, tmp_path):
    settings = {name: value for name, value in RC.items() if name in mpl.rcParams}
    assert len(settings) > 30
    with mpl.rc_context(settings):
        writer.write(study, tmp_path)
    assert contents(tmp_path) == contents(written)


@pytest.mark.parametrize("style", ["dark_background", "ggplot", "Solarize_Light2", "classic"])
def test_no_style_of_matplotlib_changes_a_figure(small, tmp_path, style):
    writer.write(small, tmp_path / "plain")
    with mpl.style.context(style):
        writer.write(small, tmp_path / "styled")
    assert contents(tmp_path / "styled") == contents(tmp_path / "plain")


def test_a_report_of_very_many_runs_counts_what_it_leaves_out(small, monkeypatch, tmp_path):
    """The page names some runs, the figures show points as pixels; what is for machines stays as it
    is."""
    writer.write(small, tmp_path / "all")
    monkeypatch.setattr(page, "SHOWN_RUNS", 5)
    monkeypatch.setattr(tables, "SHOWN_TRIALS", 1)
    monkeypatch.setattr(style, "MANY_POINTS", 20)
    many = replace(small, failed=small.failed * 2)
    writer.write(many, tmp_path / "some")
    for name in ("answers.json", "run_table.csv"):
        assert (tmp_path / "some" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()
    runs_of = {
        run_id
        for row in json.loads((tmp_path / "all" / "answers.json").read_text())
        for run_id in row["run_ids"]
    }
    for name in ("index.html", "report.md"):
        text = (tmp_path / "some" / name).read_text()
        assert sum(run_id in text for run_id in runs_of) == 5
        assert f"and {len(runs_of) - 5} more, which" in text
        assert "4 failed or killed, 0 still marked running; 3 of them without a row here" in text
        assert "more, which" not in (tmp_path / "all" / name).read_text()
    some, every = (
        (tmp_path / which / "figures" / "swap.svg").read_text() for which in ("some", "all")
    )
    assert "<image" in some and "<image" not in every


def test_every_search_trial_is_shown_and_the_tuned_arm_is_ringed(study):
    figure = search.rate_figures(study)[synthetic.RECIPE]
    trials = search_trials(study.table, synthetic.RECIPE, "val/accuracy")
    panels = {ax.get_title(loc="left").split()[0]: ax for ax in figure.axes}
    assert set(panels) == set(study.declaration.noise_types) and len(trials) == 18
    for noise, ax in panels.items():
        scores = 100 * trials.loc[trials["noise"] == noise, "score"]
        points, *_ = [line for line in ax.lines if line.get_linestyle() == "None"]
        assert sorted(np.asarray(points.get_ydata())) == pytest.approx(sorted(scores))
        (ring,) = [line for line in ax.lines if line.get_markersize() == 12]
        assert np.size(np.asarray(ring.get_xdata())) == 1


@pytest.mark.parametrize("trials", [1, 2, 5])
def test_few_trials_are_drawn_too(study, trials):
    few = study.table["trial_number"].isna() | (study.table["trial_number"] >= trials)
    for figures in (search.rate_figures, search.budget_figures):
        (figure,) = figures(without(study, few)).values()
        assert to_svg(figure)


def test_search_figures_of_one_noise_type_and_of_equal_scores(study):
    for table in (
        study.table.loc[study.table["noise"] == "none"],
        study.table.assign(**{"val/accuracy": 0.5}),
    ):
        for figures in (search.rate_figures, search.budget_figures):
            (figure,) = figures(replace(study, table=table)).values()
            assert to_svg(figure)


def test_a_noise_type_without_results_is_shown_as_missing(study):
    """Every trial of it failed: the others are reported."""
    lost = without(study, study.table["noise"] == "gaussian")
    row = next(row for row in tables.tuned(lost).rows if row[1] == "gaussian")
    assert set(row[2:]) == {formatting.MISSING}
    assert len(search.rate_figures(lost)[synthetic.RECIPE].axes) == 2


def test_drawing_leaves_matplotlib_as_it_was(study):
    before = dict(mpl.rcParams)
    search.rate_figures(study)
    search.budget_figures(study)
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


def test_the_rebuilt_search_is_the_one_that_was_run(study):
    rows = study.table.loc[study.table["phase"] == schema.SEARCH]
    trials = search_trials(study.table, synthetic.RECIPE, "val/accuracy")
    assert list(trials.index) == list(range(18))
    assert list(trials["noise"]) == ["none", "dropout", "gaussian"] * 6
    best = rows.groupby("trial_hash")["val/accuracy"].mean().max()
    assert trials["score"].max() == pytest.approx(best)


def test_integrity_is_in_order_where_nothing_is_wrong(study):
    clean = replace(
        study, failed=(), running=(), dirty=False, commit="0123abc", confirmed_elsewhere={},
        images=dict.fromkeys(study.table["arm"]),
    )  # fmt: skip
    rows = {row[0]: row[1:] for row in checks.panel(clean, answers_of(clean)).rows}
    assert {name for name, row in rows.items() if row[0] != checks.GOOD} <= {
        "the tests can reach alpha"
    }


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda table: table.assign(device=["cuda", *table["device"][1:]]), "one device"),
        (lambda table: table.assign(code_version=[3, *table["code_version"][1:]]), "one device"),
        (lambda table: table.iloc[1:], "every declared seed"),
        (
            lambda table: pd.concat([table, table.iloc[:1]], ignore_index=True),
            "every declared seed",
        ),
    ],
)
def test_what_cannot_be_compared_is_named_and_not_averaged(small, spoil, check):
    compared = small.table["arm"] == small.arms["decay"]["dropout(0.1,0.5)"]
    first = pd.concat([small.table.loc[compared], small.table.loc[~compared]], ignore_index=True)
    spoilt = replace(small, table=spoil(first))
    answers = answers_of(spoilt)
    (row,) = [row for row in checks.panel(spoilt, answers).rows if row[0].startswith(check)]
    assert row[1] == checks.LOOK and row[2].startswith("swap: ")
    assert sum(len(answer.refused) for answer in answers) == 2  # accuracy and loss of the one pair


def test_other_doubts_are_named(study):
    rows = study.table
    early = rows.assign(
        **{"test/accuracy": rows["test/accuracy"].where(rows["phase"] == schema.CONFIRM, 0.9)}
    )
    doubtful = replace(
        study, table=early, dirty=True, commit="0123abc", confirmed_elsewhere={"swap": ("abc",)}
    )
    found = {
        row[0]: row[2]
        for row in checks.panel(doubtful, answers_of(doubtful)).rows
        if row[1] == checks.LOOK
    }
    assert found["test images read by the confirm phase alone"].endswith(
        "of the phases rerank, search"
    )
    assert found["the code that ran is a commit"] == "uncommitted changes on top of 0123abc"
    assert (
        found["no other look at the test images in this store"] == "swap was also confirmed by abc"
    )


def test_a_winner_at_the_edge_of_the_search_is_named(study):
    low = min(study.table.loc[study.table["noise"] == "dropout", "rate1"].max(), 0.01)
    narrow = replace(study, declaration=replace(study.declaration, max_rate=low))
    assert any(line.startswith(f"dropout, {DECAY}: rate") for line in checks.edges(narrow))
    assert not list(
        checks.edges(replace(study, declaration=replace(study.declaration, max_rate=0.95)))
    )


def test_what_is_inconclusive_comes_with_the_study_that_would_settle_it(small):
    """As many seeds as its own power says, none of them used before, by a command that the command
    line takes."""
    question = small.declaration.questions[0]
    (answer,) = answers_of(small)
    undecided = tuple(replace(one, verdict="inconclusive") for one in answer.contrasts)
    found = next_study.next_study(small, question, replace(answer, contrasts=undecided))
    assert found
    needed = [one.estimate for one in undecided if one.contrast.metric == "test/accuracy"]
    assert found.seeds == max(e.seeds_needed if e.seeds_needed > e.n else 2 * e.n for e in needed)
    program, arguments = shlex.split(found.command)[:4], shlex.split(found.command)[4:]
    assert program == ["python", "-m", "study", "study"]
    options = cli.commands["study"].make_context("study", arguments).params
    assert options["noise"] == "none,dropout" and options["questions"] == "swap"
    assert (options["precision"], options["dataset"]) == ("float32", "fashion-mnist")
    preset = presets.chosen(
        options["preset"], options["questions"], options["seeds"], options["first_seed"]
    )
    assert len(preset.confirm_seeds) == found.seeds and list(preset.questions) == ["swap"]
    assert not set(preset.confirm_seeds) & set(small.table["seed"])
    assert next_study.next_study(small, question, replace(answer, contrasts=())) is None


def answers_of(study):
    return [questions.answer(one, study.table, study.arms) for one in study.declaration.questions]


def test_types_with_fewer_trials_are_named(study):
    searched = study.table["phase"] == schema.SEARCH
    gone = searched & (study.table["noise"] == "gaussian") & (study.table["trial_number"] < 6)
    rows = {row[0]: row[1:] for row in checks.panel(without(study, gone), []).rows}
    state, told = rows["every noise type tuned on the same number of trials"]
    assert state == checks.LOOK and re.fullmatch(rf"gaussian, {DECAY}: \d of 6 trials", told)


@pytest.mark.parametrize("accuracy", [1.0, 0.1])
def test_a_data_set_that_tells_nothing_apart_is_named(study, accuracy):
    table = study.table.copy()
    table.loc[table["phase"] == schema.CONFIRM, "test/accuracy"] = accuracy
    rows = {row[0]: row[1:] for row in checks.panel(replace(study, table=table), []).rows}
    state, told = rows["networks differ in test accuracy"]
    assert state == checks.LOOK and f", at {accuracy:.2%}:".replace("%", " %") in told


def test_lost_scores_of_images_are_named(study):
    arms = sorted(set(study.table.loc[study.table["phase"] == schema.CONFIRM, "arm"]))
    some = replace(study, images=dict.fromkeys(arms[:-2]))
    rows = {row[0]: row[1:] for row in checks.panel(some, []).rows}
    state, told = rows["scores of single test images kept for every confirmed arm"]
    assert state == checks.LOOK and told.startswith(f"2 confirmed arms of {len(arms)} without")


def test_the_command_for_a_folder_of_ones_own_says_what_to_put_in(study):
    declared = replace(study.declaration, data={**study.declaration.data, "name": "path:sep"})
    own = replace(study, declaration=declared)
    commands = []
    for question in declared.questions:
        if following := next_study.next_study(own, question, answer(question.name, own)):
            commands.append(following.command)
    assert commands and all("--dataset path:/PATH/TO/sep" in command for command in commands)


def test_arms_that_are_alike_seed_by_seed_are_named(study):
    """Under one recipe of two, and not all at one value."""
    confirmed = study.table["phase"] == schema.CONFIRM
    alike = study.table[confirmed].assign(recipe="long")
    alike["test/accuracy"] = 0.8 + alike["seed"] / 1e4
    table = pd.concat([study.table, alike], ignore_index=True)
    rows = {row[0]: row[1:] for row in checks.panel(replace(study, table=table), []).rows}
    state, told = rows["networks differ in test accuracy"]
    assert state == checks.LOOK and told.startswith("long: all arms are alike with every seed")
    assert "decay" not in told


@pytest.mark.parametrize(
    "name",
    ["swap-notes.svg", "variance_explained.svg", "epochs-of-history.svg", "search-results.svg"],
)
def test_a_figure_whose_name_only_begins_like_one_of_ours_is_kept(study, small, tmp_path, name):
    """In a report of older code, in a fresh folder, and in one that lists its files."""
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / name).write_text("mine")
    writer.write(study, tmp_path)
    (tmp_path / "report_files.json").unlink()
    for _ in range(2):
        writer.write(small, tmp_path)
        assert (tmp_path / "figures" / name).read_text() == "mine"


def test_a_download_that_is_under_way_is_kept(small, tmp_path):
    (tmp_path / "index.html.part").write_text("mine")
    writer.write(small, tmp_path)
    assert (tmp_path / "index.html.part").read_text() == "mine"
    assert not list(tmp_path.rglob(".report-*"))
    assert (tmp_path / "index.html").stat().st_mode & 0o444 == 0o444 & ~os.umask(os.umask(0o22))


@pytest.mark.parametrize(
    "text", ['{"files": [1]}', "[1]", "{", '{"written by": "me", "files": ["index.html"]}', "5"]
)
def test_a_list_of_files_of_somebody_else_is_foreign(small, tmp_path, text):
    (tmp_path / "report_files.json").write_text(text)
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ForeignFiles, match="holds index.html and 1 more"):
        writer.write(small, tmp_path)
    assert (tmp_path / "index.html").read_text() == "mine"


@pytest.mark.parametrize("place", ["results", "results/contest"])
def test_every_figure_of_a_report_is_known_by_its_name(place):
    """Before anything is drawn, also those of older code: all questions, two recipes."""
    names = figure_names(load_runs(ROOT / "docs" / place).declaration)
    figures = {f"figures/{path.name}" for path in (ROOT / "docs" / place / "figures").iterdir()}
    assert len(figures) > 10 and figures <= names


def test_every_figure_of_a_report_of_now_is_known_too(study, written):
    listed = json.loads((written / "report_files.json").read_text())["files"]
    figures = {name for name in listed if name.startswith("figures/")}
    assert figures and figures <= figure_names(study.declaration)


@pytest.mark.parametrize("name", ["beat-dropout-decay.svg", "additivity-grid.svg"])
def test_a_picture_named_after_a_recipe_is_refused_as_well(study, tmp_path, name):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / name).write_text("mine")
    with pytest.raises(ForeignFiles, match=re.escape(f"holds figures/{name}, which")):
        writer.write(study, tmp_path)
    assert (tmp_path / "figures" / name).read_text() == "mine"


def test_a_link_that_leads_nowhere_is_foreign_too(small, tmp_path):
    (tmp_path / "index.html").symlink_to("nowhere")
    with pytest.raises(ForeignFiles, match="holds index.html, which"):
        writer.write(small, tmp_path)
    assert (tmp_path / "index.html").is_symlink()


DRAWN = """
import sys
from pathlib import Path
from analysis import answer, draw, load_runs
from analysis.plots.style import to_svg
runs = load_runs("docs/results")
figures = [to_svg(draw(answer(name, runs))[0].figure) for name in ("swap", "beat-dropout")]
Path(sys.argv[1]).write_bytes(b"".join(figures))
"""


def test_a_matplotlibrc_and_a_backend_change_no_figure(tmp_path):
    """As a user has them, in a process of its own."""
    settings = {
        "text.usetex": True, "figure.autolayout": True, "axes.titley": 0.5, "date.epoch": "2000-01-01",
        "font.family": "monospace", "savefig.transparent": True, "svg.fonttype": "none", "backend": "pdf",
    }  # fmt: skip
    (tmp_path / "matplotlibrc").write_text("\n".join(f"{k}: {v}" for k, v in settings.items()))
    drawn = []
    for more in ({}, {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}, {"MPLBACKEND": "svg"}):
        subprocess.run(
            [sys.executable, "-c", DRAWN, str(tmp_path / "figures")],
            cwd=ROOT, env={**os.environ, **more}, check=True,
        )  # fmt: skip
        drawn.append((tmp_path / "figures").read_bytes())
    assert drawn[0] == drawn[1] == drawn[2]


def doubts(study, answers=()) -> dict[str, str]:
    """Check -> what was found, of those not in order."""
    rows = checks.panel(study, list(answers)).rows
    return {row[0]: row[2] for row in rows if row[1] == checks.LOOK}


def test_a_recipe_that_does_not_overfit_is_told_by_the_studys_own_runs(study):
    overfits = "every recipe that tunes overfits without noise"
    assert overfits not in doubts(study) and not checks.warnings(study, [])
    table = study.table.assign(**{"train/loss": study.table["val/loss"] + 0.003})
    underfits = replace(study, table=table)
    assert re.fullmatch(
        rf"With {DECAY}, the network does not overfit without noise: its training loss ends at "
        r"0\.\d{3}, its validation loss at 0\.\d{3}",
        doubts(underfits)[overfits],
    )
    (warning,) = checks.warnings(underfits, [])
    assert (
        warning.startswith(f"With {DECAY}, the network does not overfit")
        and "larger step" in warning
    )
    with_noise = study.table["noise"] != "none"  # which may well not overfit
    gap = study.table["train/loss"].where(~with_noise, study.table["val/loss"])
    assert overfits not in doubts(replace(study, table=study.table.assign(**{"train/loss": gap})))


def test_a_recipe_that_tunes_at_a_constant_learning_rate_is_named(study):
    ends = "every recipe that tunes ends at learning rate 0"
    assert ends not in doubts(study)
    recipes = study.declaration.recipes
    constant = {"decay": {**recipes["decay"], "schedule": "constant"}}
    declared = replace(study.declaration, recipes=constant)
    found = doubts(replace(study, declaration=declared))
    assert found[ends] == f"{DECAY}, constant learning rate"


def test_recipes_that_tune_in_the_presets_end_at_0():
    from study.presets import PRESETS

    for preset in PRESETS.values():
        for recipe in preset.recipes:
            assert recipe.learning_rate_at(1.0) == pytest.approx(0.0, abs=1e-12)


def test_a_tuned_type_that_may_lose_to_no_noise_is_a_failure_of_the_search(study):
    loses = "no tuned type loses to no noise"
    table = study.table.copy()
    arm = study.arms["decay"]["tuned gaussian"]
    table.loc[table["arm"] == arm, "test/accuracy"] += 0.02
    fine = replace(study, table=table)
    assert "gaussian - none" not in doubts(fine, answers_of(fine)).get(loses, "")
    table = study.table.copy()
    table.loc[table["arm"] == arm, "test/accuracy"] -= 0.02
    worse = replace(study, table=table)
    told = doubts(worse, answers_of(worse))[loses]
    assert f"gaussian - none, {DECAY}: may lose as much as −" in told


def test_the_first_table_has_both_intervals_and_says_where_a_verdict_holds(study):
    """On the page and in Markdown; a verdict that other images might not bear out holds on these."""
    question = study.declaration.questions[0]
    answers = [
        replace(one, crossed={each.contrast.identity: (-0.0123, 0.0456) for each in one.contrasts})
        for one in answers_of(study)
    ]
    contrasts = {one.question: contrast_table(one, study.arms) for one in answers}
    content = page.build(study, answers, contrasts, {})
    for template in ("index.html.j2", "report.md.j2"):
        shown = writer._render(template, content, defaultdict(bytes))
        first = shown[: shown.index(content.sections[0].rule)]
        assert "95 % over seeds and images" in first and "[−1.23, +4.56]" in first
    row = contrasts[question.name].to_dict("records")[0] | {"ci_low": 0.001, "ci_high": 0.004}
    row["verdict"] = "better"
    words = formatting.recipes_in_words(study.declaration)
    wide = page._row(
        question, row | {"ci_crossed_low": -0.001, "ci_crossed_high": 0.006}, 10_000, words
    )
    sure = page._row(
        question, row | {"ci_crossed_low": 0.0005, "ci_crossed_high": 0.006}, 10_000, words
    )
    assert wide.verdict.startswith("better; on these 10") and sure.verdict == "better"
    assert (wide.interval, wide.crossed) == ("[+0.10, +0.40]", "[−0.10, +0.60]")


def test_the_best_types_at_other_learning_rates_have_a_panel(study):
    rows = study.table
    tuned = {noise: study.arms["decay"][f"tuned {noise}"] for noise in ("dropout", "gaussian")}
    again = []
    for factor in (0.5, 2):
        for noise, arm in tuned.items():
            some = rows.loc[(rows["arm"] == arm) & (rows["phase"] == schema.CONFIRM)].head(4)
            gain = 0.01 * (noise == "gaussian")
            again.append(
                some.assign(
                    phase=schema.EXPLORE,
                    recipe=f"decay x{factor:g}",
                    arm=f"{noise} again x{factor:g}",
                    **{"val/accuracy": 0.8 + gain + some["seed"] / 1e4},
                )
            )
    told = tables.robustness(replace(study, table=pd.concat([rows, *again], ignore_index=True)))
    (row,) = [row for row in told.rows if row[1] == "gaussian"]
    assert row[0] == DECAY and row[3] == row[4] == "+1.00 pp [+1.00, +1.00] (n = 4)"
    assert tables.robustness(study).rows == ()


def test_recipes_are_told_by_what_they_are(study):
    """Their names stay in tags and tables for machines; the glossary tells them once."""
    pictures = {"figures/training-decay.svg": "", "figures/search-rates-decay.svg": ""}
    declared, words = study.declaration, formatting.recipes_in_words(study.declaration)
    answers = questions.answer_all(declared.questions, study.table, study.arms, {}, words)
    contrasts = {one.question: contrast_table(one, study.arms) for one in answers}
    built = page.build(study, answers, contrasts, pictures)
    told = []

    def collect(text):
        told.append(formatting.arms_in_words(text, words))
        return text

    map_texts(replace(built, run=(), search_figures=()), collect)
    named = [text for text in told if re.search(r"\bdecay\b(?<!weight decay)", text)]
    assert named == [f"how a network is trained: {DECAY} (named decay)"]
    assert sum(DECAY in text for text in told) > 20


def test_recipes_in_words(study):
    declared = study.declaration
    constant = declared.recipes["decay"] | {"schedule": "constant"}
    recipes = {"decay": declared.recipes["decay"], "again": declared.recipes["decay"]}
    recipes |= {"book": constant, "small": constant | {"epochs": 100, "train_examples": 5_000}}
    words = formatting.recipes_in_words(replace(declared, recipes=recipes))
    assert words == {
        "decay": DECAY,
        "again": f"{DECAY} (again)",
        "book": f"{DECAY}, constant learning rate",
        "small": "5,000 images, 100 epochs, constant learning rate",
    }
    assert words["decay x0.5"] == f"{DECAY}, 0.5 x learning rate"
    assert words["of another study"] == "of another study"
    arm = "dropout(0.1,0.5) wd=0.0001 {}"
    told = formatting.arms_in_words(arm.format("decay@1"), words)  # a shorter training of it
    assert told == "dropout (0.1, 0.5), weight decay 0.0001, 50,000 images, 1 epoch"
    unknown = formatting.arms_in_words(arm.format("decay@4"))
    assert unknown == "dropout (0.1, 0.5), weight decay 0.0001, decay (4 epochs)"
    composed = formatting.arms_in_words("shift+dropout(0.4,0.1,0.2) wd=0 decay@4")
    assert composed == "shift 0.4 with dropout (0.1, 0.2), weight decay 0, decay (4 epochs)"
    older = formatting.arms_in_words("shift+dropout(0.4,0.1) wd=0 decay@4")
    assert older == "shift+dropout (0.4, 0.1), weight decay 0, decay (4 epochs)"
