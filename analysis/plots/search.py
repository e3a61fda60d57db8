"""The search as Optuna draws it: history, slice, contour and importance, of a study rebuilt out of the run table.

The search's own Optuna study lived in memory and is gone; the finished trials in the tracking store are all it takes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial
from optuna.visualization import matplotlib as views

from analysis import formatting
from analysis.plots.forest import GREY, INK, STYLE, WIDTH
from analysis.schema import SEARCH, Declaration, higher_is_better
from analysis.stats.paired import RESAMPLING_SEED
from analysis.store.optuna_export import quiet
from analysis.store.reader import Study

PARAMS = {
    "noise": "noise type",
    "rate1": "rate 1",
    "rate2": "rate 2",
    "weight_decay": "weight decay",
}
MANY = 10  # noise types above which their names need a wider panel
FEWEST = 4  # trials below which an importance is no more than chance
FORESTS = 5  # random forests, each from its own seed, that an importance is the mean of
MOST = 500  # trials that an importance is computed from: fANOVA's time grows with their square


def search_figures(study: Study) -> dict[str, Figure]:
    """History, slice, contour and fANOVA importance of the search, keyed "history-decay" and so on, one set per recipe.

    Empty when there was no search. A figure that the trials at hand cannot give says why in its place.
    """
    searched = study.table.loc[study.table["phase"] == SEARCH]
    figures: dict[str, Figure] = {}
    for recipe, rows in searched.groupby("recipe"):
        rebuilt = rebuild(rows, study.declaration)
        objective = study.declaration.objective
        name = f"mean {formatting.metric_name(objective)} ({formatting.unit(objective)})"
        with _drawing():
            figures[f"history-{recipe}"] = _history(rebuilt, name, str(recipe))
            figures[f"slice-{recipe}"] = _slice(rebuilt, name, str(recipe))
            figures[f"contour-{recipe}"] = _contour(rebuilt, name, str(recipe))
            figures[f"importance-{recipe}"] = _importance(rebuilt, name, str(recipe))
    return figures


def rebuild(rows: pd.DataFrame, declaration: Declaration) -> optuna.Study:
    """An in-memory Optuna study: one trial per trial hash, in the order asked, its value the mean over seeds.

    The value is in the unit the report shows (accuracy in %).
    """
    objective = declaration.objective
    trials = []
    scores = rows[objective].to_numpy(dtype=float)
    settings = rows[["trial_number", *PARAMS]].to_dict("records")
    for places in rows.groupby("trial_hash").indices.values():
        first = settings[places[0]]
        value = float(scores[places].mean()) * formatting.scale(objective)
        trials.append((int(first["trial_number"]), {name: first[name] for name in PARAMS}, value))
    trials.sort(key=lambda trial: trial[0])

    # fANOVA averages over the ranges. That of the weight decay is known to the search alone: the one seen stands in.
    decays = np.array([params["weight_decay"] for _, params, _ in trials], dtype=float)
    floor = (
        decays[decays > 0].min(initial=1e-2) / 10
    )  # a log axis has no 0: no decay is drawn a decade below the least
    distributions: dict[str, BaseDistribution] = {
        "noise": CategoricalDistribution(declaration.noise_types),
        "weight_decay": FloatDistribution(
            floor, max(decays.max(initial=floor), floor * 10), log=True
        ),
    }
    for name in ("rate1", "rate2"):
        rates = [float(params[name]) for _, params, _ in trials]
        distributions[name] = FloatDistribution(
            min([0.0, *rates]), max([declaration.max_rate, *rates])
        )

    with quiet():
        study = optuna.create_study(
            direction="maximize" if higher_is_better(objective) else "minimize"
        )
    for _, params, value in trials:
        values: dict[str, Any] = {name: float(params[name]) for name in ("rate1", "rate2")}
        values |= {
            "noise": str(params["noise"]),
            "weight_decay": max(float(params["weight_decay"]), floor),
        }
        study.add_trial(
            optuna.create_trial(value=value, params=values, distributions=distributions)
        )
    return study


def _history(study: optuna.Study, name: str, recipe: str) -> Figure:
    def draw() -> Figure:
        ax = views.plot_optimization_history(study, target_name=name)
        ax.set_xlabel("trial, in the order asked")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend(
            ["one trial", "best so far"], loc="center left", bbox_to_anchor=(1, 0.5), frameon=False
        )
        return _finish([ax], (WIDTH, 3.4), f"{recipe}: history of the search, {_counted(study)}")

    return _or_words(draw, study, 1, "the history")


def _slice(study: optuna.Study, name: str, recipe: str) -> Figure:
    def draw() -> Figure:
        varied = [
            param for param in PARAMS if len({trial.params[param] for trial in _trials(study)}) > 1
        ]
        if not varied:
            return _words("the slice plot needs a parameter that varies")
        drawn = views.plot_slice(study, params=varied, target_name=name)
        axes = [drawn] if isinstance(drawn, Axes) else list(drawn)
        for ax, param in zip(axes, varied, strict=True):
            ax.set_xlabel(PARAMS[param])
            ax.set_ylabel(name if ax is axes[0] else "")
            if param == "noise":
                types = [text.get_text().strip("'") for text in ax.get_xticklabels()]
                ax.set_xticks(ax.get_xticks(), types, rotation=90)
                if len(types) > MANY and (grid := ax.get_gridspec()):
                    grid.set_width_ratios([0.09 * len(types), *[1] * (grid.ncols - 1)])
        title = f"{recipe}: every trial by its parameters (darker: later), {_counted(study)}"
        return _finish(axes, (WIDTH, 4.2), title)

    return _or_words(draw, study, 1, "the slice plot")


def _contour(study: optuna.Study, name: str, recipe: str) -> Figure:
    def draw() -> Figure:
        if any(
            len({trial.params[rate] for trial in study.trials}) < 2 for rate in ("rate1", "rate2")
        ):
            return _words("the contour plot needs two rates that vary")
        ax = views.plot_contour(study, params=["rate1", "rate2"], target_name=name)
        assert isinstance(ax, Axes)
        ax.set_xlabel(PARAMS["rate1"])
        ax.set_ylabel(PARAMS["rate2"])
        title = f"{recipe}: the score between the trials, over both rates, {_counted(study)} of all types"
        return _finish([ax], (WIDTH, 4.0), title)

    return _or_words(draw, study, FEWEST, "the contour plot")


def _importance(study: optuna.Study, name: str, recipe: str) -> Figure:
    def draw() -> Figure:
        shares = importances(study)
        shares = shares[shares.mean().sort_values().index]
        figure, ax = plt.subplots()
        error = shares.std().to_numpy()
        ax.barh(
            [PARAMS[param] for param in shares],
            shares.mean(),
            xerr=error,
            height=0.6,
            color=GREY,
            ecolor=INK,
        )
        ax.set_xlim(0, 1)
        ax.set_xlabel(
            f"share of the variance of the {name.split(' (')[0]}: fANOVA, mean and standard deviation over "
            f"{len(shares)} forests"
        )
        sampled = f", {MOST} of them drawn at random" if len(_trials(study)) > MOST else ""
        return _finish(
            [ax],
            (WIDTH, 2.4),
            f"{recipe}: importance of the parameters, {_counted(study)}{sampled}",
        )

    return _or_words(draw, study, FEWEST, "the importance")


def importances(study: optuna.Study, forests: int = FORESTS) -> pd.DataFrame:
    """Each parameter's share of the variance of the score, a row for each seed of fANOVA's random forest.

    The evaluator is named since Optuna 5's default, PED-ANOVA, differs much from it. A forest is random, so one alone
    may show an order that the next does not; their spread says nothing of other trials that might have been drawn.

    Source: Hutter et al. 2014, An Efficient Approach for Assessing Hyperparameter Importance.
    """
    numbered = _numbered(study)
    evaluators = (FanovaImportanceEvaluator(seed=seed) for seed in range(forests))
    found = [
        get_param_importances(numbered, evaluator=each, params=list(PARAMS)) for each in evaluators
    ]
    return pd.DataFrame(found, columns=list(PARAMS))


def _numbered(study: optuna.Study) -> optuna.Study:
    """The study with each noise type as a number: its place when the types are ordered by their mean score.

    fANOVA gives every choice of a category a column of its own and takes all combinations of them, 2^25 for 25 types. A
    tree splits by such numbers as well as by sets of choices (Breiman et al. 1984, 4.2.2). Of more than MOST trials a
    random sample is taken.
    """
    trials = _trials(study)
    if len(trials) > MOST:
        sample = np.random.default_rng(RESAMPLING_SEED).choice(len(trials), MOST, replace=False)
        trials = [trials[place] for place in sorted(sample)]
    scores: dict[str, list[float]] = {}
    for trial in trials:
        scores.setdefault(trial.params["noise"], []).append(float(trial.value or 0.0))
    order = sorted(scores, key=lambda noise: (float(np.mean(scores[noise])), noise))
    with quiet():
        numbered = optuna.create_study(direction=study.direction)
    for trial in trials:
        params = trial.params | {"noise": order.index(trial.params["noise"])}
        distributions = trial.distributions | {"noise": IntDistribution(0, len(order) - 1)}
        numbered.add_trial(
            optuna.create_trial(value=trial.value, params=params, distributions=distributions)
        )
    return numbered


def _trials(study: optuna.Study) -> list[FrozenTrial]:
    """The study's trials themselves: `study.trials` would copy each of them every time."""
    return study.get_trials(deepcopy=False)


def _counted(study: optuna.Study) -> str:
    return formatting.plural(len(_trials(study)), "trial")


def _finish(axes: list[Axes], size: tuple[float, float], title: str) -> Figure:
    figure = axes[0].get_figure()
    assert isinstance(figure, Figure)
    for ax in axes:
        ax.set_title("")
        ax.set_facecolor("white")
        ax.grid(False, axis="y")
        ax.grid(True, axis="x", color=STYLE["grid.color"])
        ax.spines[["left", "bottom"]].set(visible=True, color=GREY)
    for axis in (axis for ax in axes for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() == "log"):
        axis.set_major_formatter(LogFormatter())  # in plain text: the usual one writes a formula
        axis.set_minor_formatter(LogFormatter())
    for ax in figure.axes:  # the colour bar's too
        ax.tick_params(colors=INK, labelsize=STYLE["xtick.labelsize"])
        for label in (ax.xaxis.label, ax.yaxis.label):
            label.set(color=INK, size=STYLE["axes.labelsize"])
    figure.set_layout_engine("constrained")
    figure.set_size_inches(*size)
    figure.suptitle(title, x=0.01, ha="left", weight="bold", size=11)
    return figure


def _or_words(draw: Callable[[], Figure], study: optuna.Study, fewest: int, what: str) -> Figure:
    """The drawing, or a figure that says what is missing for it."""
    if (count := len(_trials(study))) < fewest:
        return _words(f"{what} needs {fewest} finished trials or more; there are {count}")
    try:
        return draw()
    except (ValueError, RuntimeError) as error:  # such as fANOVA where all scores are equal
        return _words(f"{what} cannot be computed: {error}")


def _words(text: str) -> Figure:
    figure = Figure(figsize=(WIDTH, 0.7))
    figure.text(0.01, 0.5, text, va="center", color=GREY, style="italic")
    return figure


@contextlib.contextmanager
def _drawing() -> Iterator[None]:
    """Optuna sets the process's style to ggplot and leaves its figures open in pyplot: neither outlasts the drawing."""
    before = set(plt.get_fignums())
    # Constrained from the start: a colour bar is placed by the layout that its figure has when it is drawn.
    with mpl.rc_context(STYLE | {"figure.constrained_layout.use": True}), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna's matplotlib views, since 2.2
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
