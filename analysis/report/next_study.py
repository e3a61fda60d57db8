"""Inconclusive is an action: the study that would settle what these seeds could not."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from analysis import formatting
from analysis.schema import RERANK, SEARCH, Question
from analysis.stats.contrasts import serves
from analysis.stats.results import Answer, ContrastAnswer
from analysis.store.reader import Study


@dataclass(frozen=True)
class Fresh:
    """A study of its own, on seeds that nobody has looked at, so that looking twice does not inflate the error.

    Attributes:
        seeds: for each arm.
        seconds: of training on one core, its search included.
        command: runs it.
    """

    seeds: int
    seconds: float
    command: str


def settling(study: Study, question: Question, answer: Answer) -> Fresh | None:
    """The fresh study for a question's inconclusive contrasts, those on accuracy where there are any; None without.

    As many seeds as the widest of them needs to find its margin in 80 % of studies; where the margin was within reach
    already, twice as many as now.
    """
    deciding = [
        one for one in answer.contrasts if formatting.is_accuracy(one.contrast.metric)
    ] or list(answer.contrasts)
    undecided = [one for one in deciding if one.verdict == "inconclusive"]
    if not undecided:
        return None
    seeds = max(_seeds(one) for one in undecided)
    table, declared = study.table, study.declaration
    arms = {
        study.arms[one.contrast.recipe][label]
        for one in undecided
        for label, _, _ in one.contrast.terms
    }
    types = set(table.loc[table["arm"].isin(list(arms)), "noise"])
    searched = [noise for noise in declared.noise_types if noise in {"none", "dropout", *types}]
    recipes = {declared.tuned_recipes[0], *(contrast.recipe for contrast in question.contrasts)}

    of_question = table.loc[serves(table, question.name) & (table["phase"] == question.phase)]
    search = table.loc[
        table["phase"].isin([SEARCH, RERANK])
        & table["noise"].isin(searched)
        & table["recipe"].isin(list(recipes))
    ]
    seconds = (
        of_question["seconds"].sum() / of_question["seed"].nunique() * seeds
        + search["seconds"].sum()
    )
    parameters = {
        "preset": declared.preset,
        "questions": question.name,
        "noise": ",".join(searched),
        "seeds": seeds,
        "first_seed": first_fresh_seed(study),
        "max_rate": declared.max_rate,
        "dataset": declared.data["name"],
        "precision": declared.precision,
    }
    options = " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}"
        for name, value in parameters.items()
    )
    return Fresh(seeds, float(seconds), f"python -m study study {options}")


def _seeds(one: ContrastAnswer) -> int:
    estimate = one.estimate
    return estimate.seeds_needed if estimate.seeds_needed > estimate.n else 2 * estimate.n


def first_fresh_seed(study: Study) -> int:
    """The next whole thousand above every seed that was declared or run."""
    declared = study.declaration
    used = {
        *declared.search_seeds,
        *declared.rerank_seeds,
        *declared.explore_seeds,
        *map(int, study.table["seed"]),
    }
    used |= {seed for question in declared.questions for seed in question.seeds}
    return (max(used) // 1000 + 1) * 1000
