"""What was searched and what was run, as tables of text that a template lays out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ParamSpec

import pandas as pd

from analysis import formatting
from analysis.formatting import MISSING, recipes_in_words
from analysis.questions.beat_dropout import FACTORS, at_rate
from analysis.schema import CONFIRM, EXPLORE, PHASES, RATES, RERANK, SEARCH
from analysis.stats import selection
from analysis.stats.paired import MIN_SEEDS, interval
from analysis.stats.results import Table
from analysis.store.reader import Study

P = ParamSpec("P")

SHOWN_TRIALS = 200
"""Unfinished trials, of each kind, that have a row."""


def tuned(study: Study) -> Table:
    """Return each noise type's winner: in the search, on new seeds, and when it was confirmed."""
    table, objective = study.table, study.declaration.objective
    # The search trials beyond these are those of dropout alone.
    last = study.declaration.trials_per_type * len(study.declaration.noise_types)
    of_types = table.loc[~(table["trial_number"] >= last).fillna(False).astype(bool)]
    rows = []
    words = recipes_in_words(study.declaration)
    for recipe in sorted(set(table.loc[table["phase"] == SEARCH, "recipe"])):
        for noise in study.declaration.noise_types:
            searched = _or_empty(selection.search_ranking, of_types, noise, objective, recipe)
            arm = study.tuned_arms(recipe).get(noise, "")
            scores = [
                searched[0].score if searched else math.nan,
                _or_nan(selection.mean_score, table, arm, RERANK, objective),
                _or_nan(selection.mean_score, table, arm, CONFIRM, objective),
            ]
            shown = [formatting.score(value, objective) for value in scores]
            optimism = _or_nan(selection.optimism, of_types, noise, recipe, objective, arm)
            flattery = formatting.difference(optimism, objective)
            rows.append((words[recipe], noise, *_settings(study, arm), *shown, flattery))
    scored = ("search, best", "re-ranking", "confirmed", "optimism")
    header = ("recipe", "noise", *_setting_names(study), *scored)
    return Table(
        f"The tuned arm of each noise type: {formatting.metric_name(objective)}, mean over seeds",
        header,
        tuple(rows),
        frozenset(range(2, len(header))),
    )


def robustness(study: Study) -> Table:
    """Return what the best types gain over tuned dropout at other learning rates."""
    objective = study.declaration.objective
    explored = study.table.loc[study.table["phase"] == EXPLORE]
    confirmed = study.table.loc[study.table["phase"] == CONFIRM]
    rows = []
    words = recipes_in_words(study.declaration)
    for recipe in study.declaration.tuned_recipes:
        tuned = study.tuned_arms(recipe)
        arms = [arm for noise, arm in tuned.items() if noise in study.declaration.noise_types]
        as_it_is = confirmed.loc[confirmed["arm"].isin(arms)]
        scores = {"as tuned": _by_noise(as_it_is, objective)}
        for factor in FACTORS:
            again = explored.loc[explored["recipe"] == at_rate(recipe, factor)]
            scores[f"x {factor:g}"] = _by_noise(again, objective)
        types = dict.fromkeys(scores[f"x {FACTORS[0]:g}"].columns)
        for noise in types if "dropout" in types else ():
            if noise != "dropout":
                gains = [_gain(one, noise, objective) for one in scores.values()]
                rows.append((words[recipe], noise, *gains))
    header = (
        "recipe",
        "tuned type",
        "as tuned",
        *(f"{factor:g} x learning rate" for factor in FACTORS),
    )
    return Table(
        f"A win at other learning rates: gain in {formatting.metric_name(objective)} over tuned "
        "dropout at the same learning rate, mean over seeds (95 % interval)",
        header,
        tuple(rows),
        frozenset({2, 3, 4}),
    )


def _by_noise(rows: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Return scores by seed, a column for each noise type."""
    return rows.pivot_table(index="seed", columns="noise", values=objective, sort=False)


def _gain(scores: pd.DataFrame, noise: str, objective: str) -> str:
    if not {noise, "dropout"} <= set(scores.columns):
        return MISSING
    gains = (scores[noise] - scores["dropout"]).dropna()
    mean = formatting.difference(float(gains.mean()), objective)
    if len(gains) < MIN_SEEDS:
        return f"{mean} (n = {len(gains)})"
    return f"{mean} {formatting.interval(*interval(gains), objective)} (n = {len(gains)})"


def confirmed(study: Study) -> Table:
    """Return every confirmed arm with its means over seeds, best test accuracy first."""
    rows = study.table.loc[study.table["phase"] == CONFIRM]
    names: dict[str, list[str]] = {str(arm): [] for arm in rows["arm"]}
    for labels in study.arms.values():
        for label, arm in labels.items():
            names.setdefault(arm, []).append(label)
    metrics = ("test/accuracy", "test/loss", "val/accuracy", "val/accuracy_last3")
    words = recipes_in_words(study.declaration)
    ranked = []
    for arm, of_arm in rows.groupby("arm"):
        means = {metric: float(of_arm[metric].to_numpy(float).mean()) for metric in metrics}
        accuracy = of_arm["test/accuracy"].to_numpy(dtype=float)
        spread = float(accuracy.std(ddof=1)) if len(of_arm) > 1 else math.nan
        recipe, best = str(of_arm["recipe"].iloc[0]), means["test/accuracy"]
        cells = (
            words[recipe],
            ", ".join(sorted(names[str(arm)])) or MISSING,
            str(of_arm["noise"].iloc[0]),
            *_settings(study, str(arm)),
            formatting.count(len(of_arm)),
            formatting.score(best, "test/accuracy"),
            formatting.difference(spread, "test/accuracy").lstrip("+"),
            *(formatting.score(means[metric], metric) for metric in metrics[1:]),
        )
        ranked.append(((recipe, math.isnan(best), -best, str(arm)), cells))
    scored = ("test accuracy", "SD over seeds", "test loss", "validation accuracy")
    last = "validation accuracy, last 3 points"
    header = ("recipe", "arm", "noise", *_setting_names(study), "seeds", *scored, last)
    return Table(
        "Every confirmed arm: means over its seeds, best test accuracy first",
        header,
        tuple(cells for _, cells in sorted(ranked)),
        frozenset(range(3, len(header))),
    )


def budget(study: Study) -> Table:
    """Return what the finished trials took, by phase and noise type."""
    rows = []
    for phase in PHASES:
        of_phase = study.table.loc[study.table["phase"] == phase]
        for noise in _in_order(study.declaration.noise_types, of_phase["noise"]):
            rows.append((phase, noise, *_spent(of_phase.loc[of_phase["noise"] == noise])))
        if len(of_phase):
            rows.append((phase, "all", *_spent(of_phase)))
    rows.append(("all", "all", *_spent(study.table)))
    return Table(
        "Budget ledger of the finished trials",
        ("phase", "noise", "trials", "seed runs", "network-epochs", "training time"),
        tuple(rows),
        frozenset({2, 3, 4, 5}),
    )


def unfinished(study: Study) -> Table:
    """Return the trials that failed, were killed or never ended: counted, and never scored."""
    finished = set(study.table["trial_hash"])
    rows = [
        (
            trial.status,
            trial.phase,
            trial.arm,
            "yes" if trial.trial_hash in finished else "no",
            trial.run_id,
        )
        for trial in (*study.failed[:SHOWN_TRIALS], *study.running[:SHOWN_TRIALS])
    ]
    caption = (
        f"Trials that did not finish: {len(study.failed)} failed or killed, {len(study.running)} "
        "still marked running"
    )
    if hidden := len(study.failed) + len(study.running) - len(rows):
        caption += f"; {hidden} of them without a row here"
    return Table(caption, ("status", "phase", "arm", "trained again", "trial run"), tuple(rows))


def recipes(study: Study) -> Table:
    """Return the settings that each recipe fixes."""
    settings = study.declaration.recipes
    names = sorted({name for recipe in settings.values() for name in recipe if name != "name"})
    rows = [
        (name, *(str(recipe.get(name, MISSING)) for recipe in settings.values())) for name in names
    ]
    words = recipes_in_words(study.declaration)
    header = ("setting", *(words[name] for name in settings))
    named = ("name in the runs' tags and parameters", *settings)
    return Table("Recipes: what is fixed", header, (named, *rows))


def provenance(study: Study) -> Table:
    """Tell where the numbers come from: study, code, data, seeds."""
    declared, table = study.declaration, study.table
    each = "per noise type on seeds"
    rows = [
        ("study", study.study_id),
        ("study run", study.run_id),
        ("experiment", study.experiment),
        ("find its runs", study.filter_string),
        ("preset", declared.preset),
        (
            "git commit",
            (study.commit or "unknown") + (", with uncommitted changes" if study.dirty else ""),
        ),
        ("code schema version", str(declared.code_version)),
        *(
            (f"data: {name}", str(value))
            for name, value in sorted(declared.data.items())
            if name != "digests"
        ),
        *((f"recipe {recipe}", words) for recipe, words in recipes_in_words(declared).items()),
        ("data digest of the runs", _distinct(table["data_digest"]) or MISSING),
        ("precision", _distinct(table["precision"]) or declared.precision),
        ("device", _distinct(table["device"]) or MISSING),
        (
            "search",
            f"{declared.trials_per_type} trials {each} {_seeds(declared.search_seeds)}"
            + (", one each" if declared.robustness_seeds else ""),
        ),
        ("re-ranking", f"best {declared.rerank_top} {each} {_seeds(declared.rerank_seeds)}"),
        ("objective", formatting.metric_name(declared.objective)),
    ]
    return Table("What was run", ("", ""), tuple(rows))


def versions(study: Study) -> Table:
    """Return package versions and the machine, as the study logged them."""
    rows = [
        (group, name, str(version))
        for group, names in sorted(study.versions.items())
        for name, version in sorted(names.items())
    ]
    return Table("Versions and machine", ("", "name", "value"), tuple(rows))


def _or_empty(
    rank: Callable[P, list[selection.Ranked]], *args: P.args, **kwargs: P.kwargs
) -> list[selection.Ranked]:
    """Return a ranking; empty where there are no results."""
    try:
        return rank(*args, **kwargs)
    except ValueError:
        return []


def _or_nan(find: Callable[P, float], *args: P.args, **kwargs: P.kwargs) -> float:
    """Return a score; NaN, shown as missing, where there are no results for it."""
    try:
        return find(*args, **kwargs)
    except ValueError:
        return math.nan


def _spent(rows: pd.DataFrame) -> tuple[str, str, str, str]:
    return (
        formatting.count(rows["trial_run_id"].nunique()),
        formatting.count(len(rows)),
        formatting.count(int(rows["epochs"].to_numpy().sum())),
        formatting.duration(float(rows["seconds"].to_numpy().sum())),
    )


def _rate_columns(study: Study) -> int:
    """Return how many columns show rates: a third one only where a noise type has it."""
    declared = study.declaration
    return max([2, *(len(declared.rate_bounds(noise)) for noise in declared.noise_types)])


def _setting_names(study: Study) -> tuple[str, ...]:
    """Return the headings of `_settings`."""
    rates = range(1, _rate_columns(study) + 1)
    return (*(f"rate {number}" for number in rates), "weight decay")


def _settings(study: Study, arm: str) -> tuple[str, ...]:
    """Return the rates ("off" for 0) and the weight decay; missing for a rate the type lacks."""
    columns = _rate_columns(study)
    rows = study.table.loc[study.table["arm"] == arm]
    if rows.empty:
        return (MISSING,) * (columns + 1)
    first = rows.iloc[0]
    count = len(study.declaration.rate_bounds(first["noise"]))
    rates = [f"{rate:.3g}" if rate else "off" for rate in first[list(RATES[:count])]]
    rates += [MISSING] * (columns - count)
    return (*rates, f"{first['weight_decay']:.3g}")


def _in_order(declared: Sequence[str], names: pd.Series) -> list[str]:
    """Return the names that occur, the declared ones first and in their order."""
    present = set(names)
    return [name for name in declared if name in present] + sorted(present - set(declared))


def _distinct(values: pd.Series) -> str:
    return ", ".join(sorted(set(values)))


def _seeds(seeds: Sequence[int]) -> str:
    """Return 0–9 where the seeds follow each other, else 1, 5, 8."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))
