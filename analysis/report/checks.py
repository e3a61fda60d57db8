"""What a reader must check before believing a study, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analysis import formatting
from analysis.schema import CONFIRM, SEARCH
from analysis.stats import selection
from analysis.stats.contrasts import UNMIXED
from analysis.stats.results import Answer, Table
from analysis.store.reader import Study

GOOD, LOOK = "in order", "look"
SHORTEST_STUDY = 10
"""Epochs of the recipes `book` and `decay`; a claim from fewer is marked on the page."""


def panel(study: Study, answers: Sequence[Answer]) -> Table:
    """Return a row for each check: whether it is in order, and what was found."""
    refusals = [(answer, refused) for answer in answers for refused in answer.refused]
    refused = [f"{answer.question}: {one.reason}" for answer, one in refusals if one.entered]
    mixed = [reason for reason in refused if any(f"mixed {name}" in reason for name in UNMIXED)]
    seeds = [reason for reason in refused if " lacks seed" in reason or " more than once" in reason]
    coincide = [reason for reason in refused if "the same arm" in reason]
    others = [reason for reason in refused if reason not in {*mixed, *seeds, *coincide}]
    powerless = [note for answer in answers for note in answer.notes if "sign-flip" in note]
    findings = {
        "one device, precision, data set and code version within each contrast": mixed,
        "every declared seed there once": seeds,
        "arms that a contrast compares differ": coincide,
        "all other declared contrasts answered": others,
        "the tests can reach alpha": powerless,
        "every trial finished": _unfinished(study),
        "every noise type tuned on the same number of trials": _unequal_tuning(study),
        "no tuned arm at the edge of the search space": list(edges(study)),
        "test images read by the confirm phase alone": _early_looks(study),
        "no other look at the same test images": _other_looks(study),
        "scores of single test images kept for every confirmed arm": _without_images(study),
        "networks differ in test accuracy": _indistinct(study),
        "the code that ran is a commit": _uncommitted(study),
    }
    rows = [
        (check, LOOK if found else GOOD, "; ".join(dict.fromkeys(found)))
        for check, found in findings.items()
    ]
    good = sum(state == GOOD for _, state, _ in rows)
    declared = sum(len(question.contrasts) for question in study.declaration.questions)
    caption = (
        f"{good} of {len(rows)} checks in order; {declared} contrasts declared, {len(refused)} not "
        f"answered, {len(refusals) - len(refused)} of types that the declared rule did not pick "
        "for a later recipe"
    )
    return Table(caption, ("check", "", "what was found"), tuple(rows))


def warnings(study: Study, answers: Sequence[Answer]) -> list[str]:
    """Tell what a reader must know before believing anything below."""
    declared = study.declaration
    lines = []
    if declared.train_examples < 50_000:
        lines.append(
            f"A demonstration, not a study: preset {declared.preset}, trained on "
            f"{formatting.count(declared.train_examples)} images only."
        )
    for name, recipe in declared.recipes.items():
        if recipe["epochs"] < SHORTEST_STUDY:
            lines.append(
                f"Recipe {name} trains for {formatting.plural(recipe['epochs'], 'epoch')} only, "
                "too few to overfit: noise slows learning before it regularises. What it does in "
                "a longer training is for the preset full to say."
            )
    wanted = sum(len(question.contrasts) for question in declared.questions)
    refused = sum(one.entered for answer in answers for one in answer.refused)
    if refused:
        lines.append(
            f"Incomplete: {formatting.plural(refused, 'declared contrast')} of {wanted} could not "
            "be answered; the notes of each question say why."
        )
    if study.running:
        running = formatting.plural(len(study.running), "trial")
        lines.append(f"{running} still marked as running when this was written.")
    for question in declared.questions:
        if others := study.confirmed_elsewhere.get(question.name):
            lines.append(
                f"The question {question.name} was confirmed on the same test images by other "
                f"studies too ({', '.join(others)}): this is not the only look at them."
            )
    return lines


def edges(study: Study) -> Iterable[str]:
    """Yield the tuned arms with a rate or weight decay at the highest value searched.

    A rate of 0 is the identity, and the least weight decay is inert: neither is an edge.
    """
    declared = study.declaration
    step = declared.search_space.get("rate_step", 0.0)
    decays = declared.search_space.get("log10_weight_decay")
    for recipe in declared.tuned_recipes:
        for noise in declared.noise_types:
            try:
                best, *_ = selection.rerank_ranking(study.table, noise, recipe, declared.objective)
            except ValueError:  # not tuned under this recipe
                continue
            bounds = declared.rate_bounds(noise)
            rates = zip((best.rate1, best.rate2), bounds, strict=False)
            for layer, (rate, (_, highest)) in enumerate(rates, start=1):
                if rate > highest - step / 2 - 1e-9:
                    yield f"{noise}, {recipe}: rate {layer} is the highest searched, {rate:g}"
            if decays and best.weight_decay > 10 ** decays[1] * 0.999:
                decay = f"{best.weight_decay:g}"
                yield f"{noise}, {recipe}: weight decay is the highest searched, {decay}"


def _unfinished(study: Study) -> list[str]:
    lines = []
    if study.failed:
        finished = set(study.table["trial_hash"])
        again = sum(trial.trial_hash in finished for trial in study.failed)
        failed = formatting.plural(len(study.failed), "trial")
        lines.append(f"{failed} failed or killed, {again} of them trained again")
    if study.deleted:
        deleted = formatting.plural(study.deleted, "run")
        lines.append(f"{deleted} in MLflow's trash: mlflow runs restore --run-id ID")
    if study.partial:
        partial = formatting.plural(len(study.partial), "trial")
        lines.append(f"{partial} lost a seed run: the study's command trains them again")
    if study.running:
        running = formatting.plural(len(study.running), "trial")
        lines.append(f"{running} still marked as running")
    return lines


def _unequal_tuning(study: Study) -> list[str]:
    """Name the types with fewer finished trials than declared: some diverged, failed or are
    missing."""
    declared = study.declaration
    searched = study.table.loc[study.table["phase"] == SEARCH]
    lines = []
    for place, recipe in enumerate(declared.tuned_recipes):
        of_recipe = searched.loc[searched["recipe"] == recipe]
        counts = of_recipe.groupby("noise")["trial_number"].nunique()
        # Under later recipes only the finalists are tuned.
        types = declared.noise_types if place == 0 and len(counts) else list(counts.index)
        for noise in types:
            count = int(counts.get(noise, 0))
            if count < declared.trials_per_type:
                lines.append(f"{noise}, {recipe}: {count} of {declared.trials_per_type} trials")
    return lines


def _without_images(study: Study) -> list[str]:
    if not study.run_id:  # read from a report's folder, which has none
        return []
    confirmed = set(study.table.loc[study.table["phase"] == CONFIRM, "arm"])
    missing = len(confirmed - set(study.images))
    if not missing:
        return []
    arms = formatting.plural(missing, "confirmed arm")
    return [f"{arms} of {len(confirmed)} without: no interval over seeds and images for them"]


def _indistinct(study: Study) -> list[str]:
    """Name the recipes under which every arm has the same accuracy with every seed."""
    confirmed = study.table.loc[study.table["phase"] == CONFIRM]
    lines = []
    for recipe, rows in confirmed.groupby("recipe"):
        by_seed = rows.groupby("seed")["test/accuracy"].agg(["nunique", "size", "first"])
        if (by_seed["size"] > 1).all() and (by_seed["nunique"] == 1).all():
            score = formatting.score(float(by_seed["first"].mean()), "test/accuracy")
            lines.append(
                f"{recipe}: all arms are alike with every seed, at {score}: this data set tells "
                "nothing of noise"
            )
    return lines


def _early_looks(study: Study) -> list[str]:
    columns = [name for name in study.table.columns if name.startswith("test/")]
    rows = study.table.loc[study.table["phase"] != CONFIRM]
    early = rows.loc[rows[columns].notna().any(axis=1)]
    if early.empty:
        return []
    phases = ", ".join(sorted(set(early["phase"])))
    return [f"{formatting.plural(len(early), 'run')} of the phases {phases}"]


def _other_looks(study: Study) -> list[str]:
    return [
        f"{question} was also confirmed by {', '.join(others)}"
        for question, others in study.confirmed_elsewhere.items()
    ]


def _uncommitted(study: Study) -> list[str]:
    if study.dirty:
        return [f"uncommitted changes on top of {study.commit or 'an unknown commit'}"]
    return [] if study.commit else ["the commit is unknown"]
