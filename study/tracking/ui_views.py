"""What a reader meets first in the MLflow UI: the notes, and saved views with the columns and
curves worth seeing.

A saved view of the UI is an experiment tag that holds the page's state as JSON. MLflow documents no
other way to say which columns it shows: where a later version no longer knows the tag, the page
opens with its own columns.
"""

from __future__ import annotations

import json
from typing import Any

from analysis import schema
from analysis.schema import Declaration

VIEW_TAG = "mlflow.sharedViewState."
WORKFLOW = "workflowType=machine_learning"
"""Else the UI shows its menus for language models."""
TREE_VIEW, TREE_VIEW_NAME = "study-tree", "Studies, trials and seeds"
COLUMNS = (
    "attributes.`Duration`",
    *(f"tags.`{tag}`" for tag in (schema.TAG_PHASE,)),
    *(f"params.`{name}`" for name in ("noise", *schema.RATES, "weight_decay", "recipe")),
    *(f"metrics.`{name}`" for name in ("val/accuracy", "val/loss", "test/accuracy")),
)
CURVES = ("val/accuracy", "val/loss", "train/loss")
EXPERIMENT_TAGS = {
    "mlflow.experiment.primaryMetric.name": "val/accuracy",
    "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
}


def experiment_tags(
    declaration: Declaration, experiment_id: str, have: dict[str, str]
) -> dict[str, str]:
    """The experiment's tags that are still to be written: its note, where nobody wrote one, and the
    views.

    Args:
        declaration: of the study that opens.
        experiment_id: the note links to the views in it.
        have: the tags it has.
    """
    views = {TREE_VIEW: _tree(), _curves_view(declaration): _curves(declaration)}
    tags = {
        VIEW_TAG + name: json.dumps(view, separators=(",", ":")) for name, view in views.items()
    }
    tags |= {"mlflow.note.content": _experiment_note(experiment_id), **EXPERIMENT_TAGS} | {
        name: value for name, value in have.items() if not name.startswith(VIEW_TAG)
    }
    return {name: value for name, value in tags.items() if have.get(name) != value}


def note(declaration: Declaration, experiment_id: str, run_id: str) -> str:
    """Return the study run's note, in Markdown."""
    report = f"{schema.REPORT_FOLDER}/index.html"
    questions = "\n".join(
        f"- **{question.name}**: {question.title}" for question in declaration.questions
    )
    recipes = ", ".join(
        f"{name} (epochs: {recipe['epochs']})" for name, recipe in declaration.recipes.items()
    )
    tree = _link(experiment_id, TREE_VIEW)
    curves = _link(experiment_id, _curves_view(declaration), charts=True)
    # The UI folds a note after some ten lines: what leads on comes first.
    return (
        f"A study of noise in a 784-256-256-10 ReLU network on {declaration.data['name']}; preset "
        f"`{declaration.preset}`, recipes {recipes}.\n\n"
        "**[The "
        f"report](#/experiments/{experiment_id}/runs/{run_id}/artifacts/{report}?{WORKFLOW})** has "
        f"the answers, once the study is finished (tab Artifacts, `{report}`). **[The "
        f"tree]({tree})** has every run. **[The curves]({curves})** show loss and accuracy per "
        "epoch, a line for each confirmed arm.\n\n"
        f"{questions}\n\n"
        "**How to read the runs.** Each child is a trial (one arm on a block of seeds), each "
        "grandchild one seed's network. Phase `search` tunes on validation images, `rerank` "
        "checks the best on new seeds, `confirm` compares the declared arms on fresh seeds and "
        "reads the test images; `explore` draws grids on few seeds, `audit` repeats what others "
        "measured, both on validation images. Trial metrics are means over seeds.\n\n"
        f"**The curves by hand**: filter `` {_confirmed(declaration)} ``, *Group by* the tag "
        f"`{schema.TAG_ARM}`, chart view, sorted by anything but the date (else the trials' means "
        "are mixed in). The UI loads 100 runs at a time: *Load more* below the list brings the "
        "other seeds.\n\n"
        f"All runs of the study: `tags.{schema.TAG_ID} = '{declaration.study_id}'`."
    )


def tree_address(server: str, experiment_id: str) -> str:
    """Return the address that opens an experiment's tree of runs in the UI of a server."""
    return f"{server.rstrip('/')}/{_link(experiment_id, TREE_VIEW)}"


def _experiment_note(experiment_id: str) -> str:
    return (
        "Studies of noise in a small network: each top run is a study, its children are trials, "
        f"theirs are seeds. [The tree]({_link(experiment_id, TREE_VIEW)}) has the columns worth "
        "seeing. Open a study's run for its answers (Artifacts, "
        f"`{schema.REPORT_FOLDER}/index.html`), its curves and how to read it."
    )


def _link(experiment_id: str, view: str, charts: bool = False) -> str:
    """The UI's own address of a view, whatever host serves it."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view}&{WORKFLOW}{mode}"


def _curves_view(declaration: Declaration) -> str:
    return f"curves-{declaration.study_id}"


def _confirmed(declaration: Declaration) -> str:
    conditions = {
        schema.TAG_ID: declaration.study_id,
        schema.TAG_KIND: "seed",
        schema.TAG_PHASE: schema.CONFIRM,
    }
    return " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in conditions.items())


def _tree() -> dict[str, Any]:
    return _saved(TREE_VIEW_NAME, {"selectedColumns": list(COLUMNS), "columnOrder": list(COLUMNS)})


def _curves(declaration: Declaration) -> dict[str, Any]:
    common = {
        "type": "LINE",
        "metricSectionId": "curves",
        "isGenerated": False,
        "deleted": False,
        "runsCountToCompare": 20,
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "lineSmoothness": 0,
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "ignoreOutliers": False,
    }
    charts = [
        {"uuid": metric, "metricKey": metric, "selectedMetricKeys": [metric], "displayName": metric}
        | common
        for metric in CURVES
    ]
    state = {
        "searchFilter": _confirmed(declaration),
        # Sorted by date, the UI would fetch the trials above the seeds too, and mix their means
        # into the curves.
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "selectedColumns": list(COLUMNS),
        "groupBy": {
            "aggregateFunction": "average",
            "groupByKeys": [{"mode": "tag", "groupByData": schema.TAG_ARM}],
        },
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": "curves", "name": "Curves by arm", "display": True, "isReordered": False}
        ],
        # Else the UI adds a chart of every metric and measure it meets.
        "isAccordionReordered": True,
    }
    return _saved(f"Curves by arm, {declaration.preset} {declaration.study_id}", state)


def _saved(name: str, state: dict[str, Any]) -> dict[str, Any]:
    """A view as the UI keeps it, listed under this name; of no date, so that a view written twice
    is the same."""
    return {
        "name": name,
        "createdAt": 0,
        "updatedAt": 0,
        "state": json.dumps(state, separators=(",", ":")),
    }
