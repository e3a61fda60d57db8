"""What was searched and what was run, as tables of text that a template only has to lay out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import pandas as pd

from analysis import formatting
from analysis.schema import CONFIRM, PHASES, SEARCH
from analysis.stats import selection
from analysis.stats.results import Table
from analysis.store.reader import Study

P = ParamSpec("P")
T = TypeVar("T")
SHOWN_TRIALS = 200  # unfinished ones, of each kind, that have a row
SETTINGS = ("rate 1", "rate 2", "weight decay")


def tuned(study: Study) -> Table:
    """The winner of each noise type: how it looked in the search, on new seeds, and when it was confirmed."""
    table, objective = study.table, study.declaration.objective
    searched = table.loc[table["phase"] == SEARCH]
    rows = []
    for recipe in sorted(set(searched["recipe"])):
        for noise in study.declaration.noise_types:
            best = _or_none(selection.search_ranking, table, noise, objective, recipe)
            winner = _or_none(selection.rerank_ranking, table, noise, recipe, objective)
            arm = winner[0].arm if winner else ""
            scores = (
                best[0].score if best else None,
                winner[0].score if winner else None,
                _or_none(selection.confirmed_score, table, arm, objective),
            )
            optimism = _or_none(selection.optimism, table, noise, recipe, objective)
            rows.append(
                (
                    recipe,
                    noise,
                    *_settings(study, arm),
                    *(
                        formatting.score(math.nan if score is None else score, objective)
                        for score in scores
                    ),
                    formatting.difference(math.nan if optimism is None else optimism, objective),
                )
            )
    return Table(
        f"The tuned arm of each noise type: {formatting.metric_name(objective)}, mean over seeds",
        ("recipe", "noise", *SETTINGS, "search, best", "re-ranking", "confirmed", "optimism"),
        tuple(rows),
        frozenset(range(2, 9)),
    )


def confirmed(study: Study) -> Table:
    """Every arm of the confirm phase with its means over seeds, best test accuracy first; the losers too."""
    metrics = ("test/accuracy", "test/loss", "val/accuracy", "val/accuracy_last3")
    names: dict[str, list[str]] = {str(arm): [] for arm in study.table["arm"]}
    for labels in study.arms.values():
        for label, arm in labels.items():
            names.setdefault(arm, []).append(label)
    validation = ("validation accuracy", "validation accuracy, last 3 epochs")
    found = []
    for arm, rows in study.table.loc[study.table["phase"] == CONFIRM].groupby("arm"):
        scores = {metric: rows[metric].to_numpy(dtype=float) for metric in metrics}
        means = {metric: float(values.mean()) for metric, values in scores.items()}
        spread = float(scores["test/accuracy"].std(ddof=1)) if len(rows) > 1 else math.nan
        cells = (
            str(rows["recipe"].iloc[0]),
            ", ".join(sorted(names[str(arm)])) or formatting.MISSING,
            str(rows["noise"].iloc[0]),
            *_settings(study, str(arm)),
            formatting.count(len(rows)),
            formatting.score(means["test/accuracy"], "test/accuracy"),
            formatting.difference(spread, "test/accuracy").lstrip("+"),
            *(formatting.score(means[metric], metric) for metric in metrics[1:]),
        )
        best = means["test/accuracy"]
        found.append(((cells[0], math.isnan(best), -best, str(arm)), cells))
    return Table(
        "Every confirmed arm: means over its seeds, best test accuracy first",
        (
            "recipe",
            "arm",
            "noise",
            *SETTINGS,
            "seeds",
            "test accuracy",
            "SD over seeds",
            "test loss",
            *validation,
        ),
        tuple(cells for _, cells in sorted(found, key=lambda item: item[0])),
        frozenset(range(3, 12)),
    )


def budget(study: Study) -> Table:
    """Trials, seed runs, network-epochs and seconds of the finished trials, by phase and noise type."""
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
    """Trials that failed, were killed or never ended: counted, and never scored. The table stops at SHOWN_TRIALS."""
    finished = set(study.table["trial_hash"])
    rows = tuple(
        (
            trial.status,
            trial.phase,
            trial.arm,
            "yes" if trial.trial_hash in finished else "no",
            trial.run_id,
        )
        for trial in (*study.failed[:SHOWN_TRIALS], *study.running[:SHOWN_TRIALS])
    )
    left_out = len(study.failed) + len(study.running) - len(rows)
    return Table(
        f"Trials that did not finish: {len(study.failed)} failed or killed, {len(study.running)} still marked running"
        + (f"; {left_out} of them without a row here" if left_out else ""),
        ("status", "phase", "arm", "trained anew", "trial run"),
        rows,
    )


def recipes(study: Study) -> Table:
    """The settings that each recipe fixes."""
    settings = study.declaration.recipes
    names = sorted({name for recipe in settings.values() for name in recipe if name != "name"})
    rows = tuple(
        (name, *(str(settings[recipe].get(name, formatting.MISSING)) for recipe in settings))
        for name in names
    )
    return Table("Recipes: what is fixed", ("setting", *settings), rows)


def provenance(study: Study) -> Table:
    """Where the numbers come from: study, code, data, seeds."""
    declared = study.declaration
    digests = sorted(set(study.table["data_digest"]))
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
        *((f"data: {name}", str(value)) for name, value in sorted(declared.data.items())),
        ("data digest of the runs", ", ".join(digests) or formatting.MISSING),
        ("training images used", formatting.count(declared.train_examples)),
        ("precision", ", ".join(sorted(set(study.table["precision"]))) or declared.precision),
        ("device", ", ".join(sorted(set(study.table["device"]))) or formatting.MISSING),
        (
            "search",
            f"{declared.trials_per_type} trials per noise type on seeds {_seeds(declared.search_seeds)}",
        ),
        (
            "re-ranking",
            f"best {declared.rerank_top} per noise type on seeds {_seeds(declared.rerank_seeds)}",
        ),
        ("objective", formatting.metric_name(declared.objective)),
    ]
    return Table("What was run", ("", ""), tuple(rows))


def versions(study: Study) -> Table:
    """Package versions and the machine, as the study logged them."""
    rows = tuple(
        (group, name, str(version))
        for group, names in sorted(study.versions.items())
        for name, version in sorted(names.items())
    )
    return Table("Versions and machine", ("", "name", "value"), rows)


def _or_none(find: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """What a selection rule finds; None where there are no results for it, which the report shows as missing."""
    try:
        return find(*args, **kwargs)
    except ValueError:
        return None


def _spent(rows: pd.DataFrame) -> tuple[str, str, str, str]:
    return (
        formatting.count(len(set(rows["trial_run_id"]))),
        formatting.count(len(rows)),
        formatting.count(int(rows["epochs"].to_numpy().sum())),
        formatting.duration(float(rows["seconds"].to_numpy().sum())),
    )


def _settings(study: Study, arm: str) -> tuple[str, str, str]:
    """The arm's rates ("off" for 0) and weight decay; missing without runs, and for a rate its type lacks."""
    rows = study.table.loc[study.table["arm"] == arm]
    if rows.empty:
        return formatting.MISSING, formatting.MISSING, formatting.MISSING
    first = rows.iloc[0]
    bounds = study.declaration.search_space.get("bounds", {})  # of every rate that a type has
    has = 0 if first["noise"] == "none" else len(bounds.get(first["noise"], range(2)))
    shown = [f"{rate:.3g}" if rate else "off" for rate in (first["rate1"], first["rate2"])]
    rate1, rate2 = [*shown[:has], formatting.MISSING, formatting.MISSING][:2]
    return rate1, rate2, f"{first['weight_decay']:.3g}"


def _in_order(declared: Sequence[str], found: pd.Series) -> list[str]:
    """The names found, the declared ones first and in their order."""
    names = set(found)
    return [name for name in declared if name in names] + sorted(names - set(declared))


def _seeds(seeds: Sequence[int]) -> str:
    """0–9 where they follow each other, else 1, 5, 8."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))
