"""What a reader must check before believing a study, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analysis import formatting
from analysis.schema import CONFIRM
from analysis.stats import selection
from analysis.stats.contrasts import UNMIXED
from analysis.stats.results import Answer, Table
from analysis.store.reader import Study

GOOD, LOOK = "in order", "look"
SHORTEST_STUDY = (
    10  # epochs of the recipes `book` and `decay`; a claim from fewer is marked on the page
)


def panel(study: Study, answers: Sequence[Answer]) -> Table:
    """One row for each check: whether it is in order, and what was found."""
    refused = [
        f"{answer.question}: {one.reason}"
        for answer in answers
        for one in answer.refused
        if one.entered
    ]
    out = sum(not one.entered for answer in answers for one in answer.refused)
    declared = sum(len(question.contrasts) for question in study.declaration.questions)
    not_comparable = [
        reason for reason in refused if any(f"mixed {column}" in reason for column in UNMIXED)
    ]
    seeds = [reason for reason in refused if " lacks seed" in reason or " more than once" in reason]
    coincide = [reason for reason in refused if "the same arm" in reason]
    told = {*not_comparable, *seeds, *coincide}
    checks = [
        ("one device, precision, data set and code version within each contrast", not_comparable),
        ("every declared seed there once", seeds),
        ("arms that a contrast compares differ", coincide),
        (
            "all other declared contrasts answered",
            [reason for reason in refused if reason not in told],
        ),
        (
            "the tests can reach alpha",
            [note for answer in answers for note in answer.notes if "sign-flip" in note],
        ),
        ("every trial finished", _unfinished(study)),
        ("no tuned arm at the edge of the search space", list(edges(study))),
        ("test images read by the confirm phase alone", _early_looks(study)),
        ("no other look at the same test images", _other_looks(study)),
        ("the code that ran is a commit", _uncommitted(study)),
    ]
    rows = tuple(
        (name, LOOK if found else GOOD, "; ".join(dict.fromkeys(found))) for name, found in checks
    )
    good = sum(row[1] == GOOD for row in rows)
    left = f"{len(refused)} not answered, {out} of types that the declared rule did not pick for a later recipe"
    caption = f"{good} of {len(rows)} checks in order; {declared} contrasts declared, {left}"
    return Table(caption, ("check", "", "what was found"), rows)


def warnings(study: Study, answers: Sequence[Answer]) -> list[str]:
    """What a reader must know before believing anything below."""
    declared = study.declaration
    lines = []
    if declared.train_examples < 50_000:
        lines.append(
            f"A demonstration, not a study: preset {declared.preset}, trained on "
            f"{formatting.count(declared.train_examples)} images only."
        )
    lines += [
        f"Recipe {name} trains for {formatting.plural(recipe['epochs'], 'epoch')} only, too few to overfit: noise "
        "slows learning before it regularises. What it does in a longer training is for the preset full to say."
        for name, recipe in declared.recipes.items()
        if recipe["epochs"] < SHORTEST_STUDY
    ]
    wanted = sum(len(question.contrasts) for question in declared.questions)
    refused = sum(one.entered for answer in answers for one in answer.refused)
    if refused:
        missing = formatting.plural(refused, "declared contrast")
        lines.append(
            f"Incomplete: {missing} of {wanted} could not be answered; the notes of each question say why."
        )
    if study.running:
        lines.append(
            f"{formatting.plural(len(study.running), 'trial')} still marked as running when this was written."
        )
    for question in declared.questions:
        if others := study.confirmed_elsewhere.get(question.name):
            lines.append(
                f"The question {question.name} was confirmed on the same test images by other studies too "
                f"({', '.join(others)}): this is not the only look at them."
            )
    return lines


def edges(study: Study) -> Iterable[str]:
    """The tuned arms with a value at an edge of the search that a wider one could move.

    That is a rate or a weight decay at its highest. A rate of 0 is the identity, and the least weight decay is inert:
    neither is an edge.
    """
    declared, table = study.declaration, study.table
    step = declared.search_space.get("rate_step", 0.0)
    bounds = declared.search_space.get("log10_weight_decay")
    for recipe in declared.tuned_recipes:
        for noise in declared.noise_types:
            try:
                best, *_ = selection.rerank_ranking(table, noise, recipe, declared.objective)
            except ValueError:  # not tuned under this recipe
                continue
            if noise != "none":
                rates = best.rate1, best.rate2
                for layer, (rate, highest) in enumerate(
                    zip(rates, _highest(study, noise), strict=False), start=1
                ):
                    if rate > highest - step / 2 - 1e-9:
                        yield f"{noise}, {recipe}: rate {layer} is the highest searched, {rate:g}"
            if bounds and best.weight_decay > 10 ** bounds[1] * 0.999:
                yield f"{noise}, {recipe}: weight decay is the highest searched, {best.weight_decay:g}"


def _highest(study: Study, noise: str) -> list[float]:
    """The highest value of each rate of a type: its own bound, or the study's where that is lower."""
    highest = study.declaration.max_rate
    bounds = study.declaration.search_space.get("bounds", {}).get(noise, [[0.0, highest]] * 2)
    return [min(high, highest) for _, high in bounds]


def _unfinished(study: Study) -> list[str]:
    finished = set(study.table["trial_hash"])
    again = sum(trial.trial_hash in finished for trial in study.failed)
    found = []
    if study.failed:
        found.append(
            f"{formatting.plural(len(study.failed), 'trial')} failed or killed, {again} of them trained anew"
        )
    if study.partial:
        lost = formatting.plural(len(study.partial), "trial")
        found.append(f"{lost} lost a seed run: the study's command trains what lacks anew")
    if study.running:
        found.append(f"{formatting.plural(len(study.running), 'trial')} still marked as running")
    return found


def _early_looks(study: Study) -> list[str]:
    columns = [name for name in study.table.columns if name.startswith("test/")]
    rows = study.table.loc[study.table["phase"] != CONFIRM]
    early = rows.loc[rows[columns].notna().any(axis=1)]
    return [
        f"{formatting.plural(len(early), 'run')} of the phases {', '.join(sorted(set(early['phase'])))}"
    ] * bool(len(early))


def _other_looks(study: Study) -> list[str]:
    return [
        f"{question} was also confirmed by {', '.join(others)}"
        for question, others in study.confirmed_elsewhere.items()
    ]


def _uncommitted(study: Study) -> list[str]:
    if study.dirty:
        return [f"uncommitted changes on top of {study.commit or 'an unknown commit'}"]
    return [] if study.commit else ["the commit is unknown"]
