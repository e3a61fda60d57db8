"""The MLflow UI as a reader meets it: `make ui` serves a finished study, a browser walks through
docs/ui.md.

DROPOUT_STUDY_UI_PICTURES=docs/ui keeps the pictures; DROPOUT_STUDY_UI_STORE takes them of the
newest study of a store that is there, rather than of a small one made for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from browser import Browser, chromium, served
from running import Place

from analysis import load_runs, schema
from analysis.store.reader import Study
from study.tracking import ui_views

pytestmark = pytest.mark.slow

EXPANDER = "//button[contains(@data-component-id, 'runnamecellrenderer')]"
LOADED = 100
"""Runs that the UI asks for at a time."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def uri(browser: Browser, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The store of a finished study; made after the browser, without which there is nothing to make
    it for."""
    known = os.environ.get("DROPOUT_STUDY_UI_STORE")
    if known:
        return known
    place = Place(tmp_path_factory.mktemp("ui"), folder)
    place.finish()
    return place.uri


@pytest.fixture(scope="module")
def study(uri: str) -> Study:
    mlflow.set_tracking_uri(uri)
    return load_runs()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make ui` prints."""
    return tmp_path_factory.mktemp("served") / "log"


@pytest.fixture(scope="module")
def server(study: Study, uri: str, log: Path) -> Iterator[str]:
    with served(uri, log) as address:
        yield address


@pytest.fixture(scope="module")
def experiment(study: Study, server: str) -> str:
    """The address of the experiment in the UI that `make ui` serves."""
    found = mlflow.get_experiment_by_name(study.experiment)
    assert found
    return f"{server}/#/experiments/{found.experiment_id}"


@pytest.fixture
def keep(browser: Browser) -> Callable[[str], None]:
    """Keeps a picture of what is shown, where pictures are asked for."""
    folder = os.environ.get("DROPOUT_STUDY_UI_PICTURES")

    def picture(name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            browser.picture(Path(folder) / f"{name}.png")
            assert (Path(folder) / f"{name}.png").stat().st_size < 150_000

    return picture


def test_the_printed_address_opens_the_tree(
    browser: Browser, server: str, log: Path, study: Study
) -> None:
    (printed,) = re.findall(r"^the newest study: (\S+)$", log.read_text(), flags=re.MULTILINE)
    assert printed.startswith(f"{server}/#/experiments/")
    browser.open(printed)
    browser.see_text(ui_views.TREE_VIEW_NAME)
    browser.see_text(f"study-{study.declaration.preset}")


def test_two_clicks_lead_there_from_the_servers_first_page(
    browser: Browser, server: str, study: Study
) -> None:
    browser.open(f"{server}/")
    browser.click("//*[text()='Model training']")
    browser.click(f"//a[text()='{study.experiment}']")
    browser.see_text(f"study-{study.declaration.preset}")


def test_the_tree_has_the_columns_worth_seeing(
    browser: Browser, experiment: str, study: Study, keep
) -> None:
    """The description of the experiment leads to it; the study opens into trials, a trial into its
    seeds."""
    browser.open(f"{experiment}/runs")
    link = browser.see("//a[text()='The tree']").get_attribute("href")
    browser.open(str(link))
    browser.see_text(ui_views.TREE_VIEW_NAME)
    browser.see_text(f"study-{study.declaration.preset}")
    browser.click(EXPANDER)
    trial = browser.see(f"(//*[@role='row'][.//a[contains(., '-{schema.CONFIRM}-')]]{EXPANDER})[1]")
    browser.see_text(f"-{schema.CONFIRM}-")
    before = browser.count("//a[contains(., '-s')]")
    browser.driver.execute_script("arguments[0].click()", trial)
    browser.see(f"//a[contains(., '-s{study.declaration.questions[0].seeds[0]}')]")
    assert browser.count("//a[contains(., '-s')]") > before
    for column in (schema.TAG_PHASE, "noise", "rate1", "rate2"):
        browser.see(f"//*[@role='columnheader'][contains(., '{column}')]")
    keep("tree")


def test_the_study_says_what_it_is_and_on_which_data(
    browser: Browser, experiment: str, study: Study, keep
) -> None:
    browser.open(f"{experiment}/runs/{study.run_id}?{ui_views.WORKFLOW}")
    browser.see("//a[text()='The report']")
    browser.click("//button[contains(., 'Show more')]")
    browser.see_text("How to read the runs.")
    browser.see_text(f"{study.declaration.data['name']} train")
    keep("study")


def test_the_report_opens_in_the_artifact_viewer(
    browser: Browser, experiment: str, study: Study, keep
) -> None:
    """The note's link leads there; the table of verdicts stands in it, with every question's."""
    browser.open(f"{experiment}/runs/{study.run_id}?{ui_views.WORKFLOW}")
    link = browser.see("//a[text()='The report']").get_attribute("href")
    browser.open(str(link))
    frame = browser.see("//iframe[contains(@class, 'mlflow-html-iframe')]")
    browser.driver.switch_to.frame(frame)
    table = browser.see("//table[.//th[contains(., 'verdict')]]")
    for question in study.declaration.questions:
        assert question.title in table.text
    browser.driver.execute_script("arguments[0].scrollIntoView()", table)
    browser.driver.switch_to.default_content()
    browser.hide("//*[starts-with(text(), 'Path:')]")  # of the machine that took the picture
    keep("report")


def test_the_curves_are_grouped_by_arm(
    browser: Browser, experiment: str, study: Study, keep
) -> None:
    browser.open(f"{experiment}/runs/{study.run_id}?{ui_views.WORKFLOW}")
    link = browser.see("//a[text()='The curves']").get_attribute("href")
    browser.open(str(link))
    browser.see_text(f"Group by: {schema.TAG_ARM}")
    browser.see("//*[text()='Curves by arm']")
    for metric in ui_views.CURVES:
        browser.see(f"//*[text()='{metric}']")
    browser.see("//*[name()='svg'][contains(@class, 'main-svg')]")
    confirmed = study.table[study.table["phase"] == schema.CONFIRM]
    browser.see_text("Group: ")
    shown = min(len(confirmed), LOADED)  # none of the trials above them
    browser.see(f"//*[text()='{shown}'][contains(.., 'matching runs')]")
    keep("curves")
