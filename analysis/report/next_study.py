"""Inconclusive is an action: the study that would settle what these seeds could not."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass

from analysis import formatting
from analysis.schema import RERANK, SEARCH, Question
from analysis.stats.contrasts import rows_for_question
from analysis.stats.paired import images_dominate
from analysis.stats.power import MOST_SEEDS
from analysis.stats.results import Answer
from analysis.store.reader import Study


@dataclass(frozen=True)
class NextStudy:
    """A study on fresh seeds, so that looking twice does not inflate the error.

    Attributes:
        seeds: for each arm.
        seconds: of training on one core, its search included.
        command: runs it.
    """

    seeds: int
    seconds: float
    command: str


def next_study(study: Study, question: Question, answer: Answer) -> NextStudy | None:
    """Return the study for a question's inconclusive contrasts; None if all are settled, or more
    seeds are not worth it.

    It looks at the contrasts on accuracy where there are any. It takes as many seeds as the widest
    of them needs to find its margin in 80 % of studies; where the margin was within reach already,
    twice as many as now. Contrasts that take more than MOST_SEEDS are left, and those whose
    uncertainty is for the most part that of the test images.
    """
    on_accuracy = [one for one in answer.contrasts if formatting.is_accuracy(one.contrast.metric)]
    undecided = [
        one
        for one in on_accuracy or answer.contrasts
        if one.verdict == "inconclusive"
        and one.estimate.seeds_to_settle <= MOST_SEEDS
        and not images_dominate(
            (one.estimate.ci_low, one.estimate.ci_high),
            answer.crossed.get(one.contrast.identity, (math.nan, math.nan)),
        )
    ]
    if not undecided:
        return None
    seeds = max(one.estimate.seeds_to_settle for one in undecided)
    table, declared = study.table, study.declaration
    arms: set[str] = set()
    for one in undecided:
        of_recipe = study.arms[one.contrast.recipe]
        arms |= {of_recipe[label] for label, _, _ in one.contrast.terms}
    types = {"none", "dropout", *table.loc[table["arm"].isin(list(arms)), "noise"]}
    searched = [noise for noise in declared.noise_types if noise in types]
    recipes = {declared.tuned_recipes[0], *(contrast.recipe for contrast in question.contrasts)}
    answering = rows_for_question(table, question.name) & (table["phase"] == question.phase)
    searching = (
        table["phase"].isin([SEARCH, RERANK])
        & table["noise"].isin(searched)
        & table["recipe"].isin(list(recipes))
    )
    of_question = table.loc[answering]
    seconds_per_seed = of_question["seconds"].sum() / of_question["seed"].nunique()
    options = {
        "preset": declared.preset,
        "questions": question.name,
        "noise": ",".join(searched),
        "seeds": seeds,
        "first-seed": first_fresh_seed(study),
        "max-rate": declared.max_rate,
        "dataset": _dataset(declared.data["name"]),
        "precision": declared.precision,
    }
    words = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in options.items())
    return NextStudy(
        seeds,
        float(seconds_per_seed * seeds + table.loc[searching, "seconds"].sum()),
        f"python -m study study {words}",
    )


def _dataset(name: str) -> str:
    """Return the data set as an option; of a folder only the last part of its path is known."""
    kind, separator, folder = name.partition("path:")
    return f"path:/PATH/TO/{folder}" if separator and not kind else name


def first_fresh_seed(study: Study) -> int:
    """Return the next whole thousand above every seed that was declared or run."""
    declared = study.declaration
    used = {*declared.search_seeds, *declared.rerank_seeds, *declared.explore_seeds}
    used |= set(study.table["seed"].astype(int))
    for question in declared.questions:
        used |= set(question.seeds)
    return (max(used) // 1000 + 1) * 1000
