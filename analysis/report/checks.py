"""What a reader must check before believing a study, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from analysis import formatting
from analysis.formatting import recipes_in_words
from analysis.schema import CONFIRM, RATES, SEARCH, TUNED, Declaration
from analysis.stats.contrasts import UNMIXED
from analysis.stats.paired import gain_interval
from analysis.stats.results import Answer, Table
from analysis.store.reader import Study

GOOD, LOOK = "in order", "look"
FEWEST_IMAGES = 5_000
"""Training images of the recipe `small`; a study on fewer is marked on the page."""
OVERFITS = 0.05
"""Least gap, in nats, between final validation and training loss of a network that overfits."""


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
        "every recipe that tunes overfits without noise": _underfits(study),
        "every recipe that tunes ends at learning rate 0": _ends_above_0(study),
        "no tuned type loses to no noise": _lost_to_none(study, answers),
        "test images read by the confirm phase alone": _early_looks(study),
        "no other look at the test images in this store": _other_looks(study),
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
        f"answered, {len(refusals) - len(refused)} of arms that the declared rule did not pick"
    )
    return Table(caption, ("check", "", "what was found"), tuple(rows))


def warnings(study: Study, answers: Sequence[Answer]) -> list[str]:
    """Tell what a reader must know before believing anything below."""
    declared = study.declaration
    lines = []
    fewest = min(map(declared.train_examples_of, declared.tuned_recipes))
    if fewest < FEWEST_IMAGES:
        lines.append(
            f"A demonstration, not a study: preset {declared.preset}, trained on "
            f"{formatting.count(fewest)} images only."
        )
    lines += [
        f"{line}. There is nothing to regularise: noise slows learning, and what wins may "
        "only have taken a larger step."
        for line in _underfits(study)
    ]
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
    for recipe in declared.tuned_recipes:
        width, highest_decay = _edge(declared, recipe)
        arms = study.tuned_arms(recipe)
        words = recipes_in_words(declared)[recipe]
        for noise in declared.noise_types:
            rows = study.table.loc[study.table["arm"] == arms.get(noise, "")]
            if rows.empty:  # not tuned under this recipe
                continue
            best = rows.iloc[0]
            rates = zip(best[list(RATES)], declared.rate_bounds(noise), strict=False)
            for number, (rate, (_, highest)) in enumerate(rates, start=1):
                if rate > highest - width * highest - 1e-9:
                    yield f"{noise}, {words}: rate {number} is the highest searched, {rate:g}"
            if best["weight_decay"] > highest_decay:
                decay = f"{best['weight_decay']:g}"
                yield f"{noise}, {words}: weight decay is the highest searched, {decay}"


def _edge(declared: Declaration, recipe: str) -> tuple[float, float]:
    """Return what counts as the edge: a share of the highest rate, and a weight decay.

    Rates and weight decays are drawn from whole ranges, which hardly ever end at their ends; older
    code drew them from a grid.
    """
    space = declared.search_space
    if "weight_decay" in space:
        low, high = space["weight_decay"][recipe]
        return 0.1, low * (high / low) ** 0.95
    last = 10 ** space["log10_weight_decay"][1] * 0.999 if "log10_weight_decay" in space else 1.0
    return space.get("rate_step", 0.0) / 2, last


def overfitting(study: Study) -> dict[str, tuple[float, float]]:
    """Return recipe -> training and validation loss at the end, without noise at the least weight
    decay that was trained, the mean over its networks."""
    rows = study.table.loc[study.table["noise"] == "none"]
    losses = {}
    for recipe in study.declaration.tuned_recipes:
        of_recipe = rows.loc[rows["recipe"] == recipe]
        bare = of_recipe.loc[of_recipe["weight_decay"] == of_recipe["weight_decay"].min()]
        if len(bare):
            means = bare[["train/loss", "val/loss"]].astype(float).mean()
            losses[recipe] = (float(means["train/loss"]), float(means["val/loss"]))
    return losses


def _underfits(study: Study) -> list[str]:
    """Name the recipes under which there is nothing to regularise."""
    lines = []
    words = recipes_in_words(study.declaration)
    for recipe, (training, validation) in overfitting(study).items():
        if not validation - training >= OVERFITS:
            lines.append(
                f"With {words[recipe]}, the network does not overfit without noise: its training "
                f"loss ends at {training:.3f}, its validation loss at {validation:.3f}"
            )
    return lines


def _ends_above_0(study: Study) -> list[str]:
    """Name the tuned recipes of a constant learning rate, where a larger step gains."""
    recipes = study.declaration.recipes
    words = recipes_in_words(study.declaration)
    return [
        words[recipe]
        for recipe in study.declaration.tuned_recipes
        if recipes[recipe].get("schedule", "constant") == "constant"
    ]


def _lost_to_none(study: Study, answers: Sequence[Answer]) -> list[str]:
    """Name the tuned types that are not shown to be at least equivalent to no noise.

    Rate 0 was among their candidates: one that loses is a failure of the search.
    """
    lines = []
    words = recipes_in_words(study.declaration)
    for answer in answers:
        for one in answer.contrasts:
            contrast = one.contrast
            against = f"{TUNED}none" in contrast.coefficients and answer.question == "beat-dropout"
            if not against or not formatting.is_accuracy(contrast.metric):
                continue
            lowest = gain_interval(one, level=0.9)[0]
            if lowest <= -contrast.margin:
                least = formatting.difference(lowest, contrast.metric)
                lines.append(
                    f"{contrast.name}, {words[contrast.recipe]}: may lose as much as {least}, "
                    "although rate 0 was searched: a failure of the search, or of too few seeds"
                )
    return lines


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
    words = recipes_in_words(declared)
    searched = study.table.loc[study.table["phase"] == SEARCH]
    of_types = declared.trials_per_type * len(declared.noise_types)
    searched = searched.loc[searched["trial_number"] < of_types]  # beyond is dropout alone
    lines = []
    for place, recipe in enumerate(declared.tuned_recipes):
        of_recipe = searched.loc[searched["recipe"] == recipe]
        counts = of_recipe.groupby("noise")["trial_number"].nunique()
        # Under later recipes only the finalists are tuned; of some, every trial may have diverged.
        tried = {*counts.index, *study.tuned_arms(recipe)}
        later = [noise for noise in declared.noise_types if noise in tried]
        types = declared.noise_types if place == 0 and len(counts) else later
        for noise in types:
            count = int(counts.get(noise, 0))
            if count < declared.trials_per_type:
                trials = f"{count} of {declared.trials_per_type} trials"
                lines.append(f"{noise}, {words[recipe]}: {trials}")
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
    words = recipes_in_words(study.declaration)
    lines = []
    for recipe, rows in confirmed.groupby("recipe"):
        by_seed = rows.groupby("seed")["test/accuracy"].agg(["nunique", "size", "first"])
        if (by_seed["size"] > 1).all() and (by_seed["nunique"] == 1).all():
            score = formatting.score(float(by_seed["first"].mean()), "test/accuracy")
            lines.append(
                f"{words[str(recipe)]}: all arms are alike with every seed, at {score}: this data "
                "set tells nothing of noise"
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
