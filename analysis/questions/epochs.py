"""Exercise 2: what becomes of dropout's gain when training goes on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2

from analysis import formatting
from analysis.questions.base import (
    DROPOUT_ALONE,
    HALF,
    RATE,
    Arm,
    Comparison,
    Conclusion,
    Design,
    Evidence,
    Recipe,
    Tuned,
    Unanswered,
)
from analysis.questions.sentences import by_key, listed
from analysis.schema import term
from analysis.stats.results import ContrastAnswer
from analysis.stats.verdicts import NEGLIGIBLE, significant_direction

HORIZONS = (5, 10, 20, 50, 100)
SIZES = {"images-1000": 1_000, "small": 5_000, "images-20000": 20_000, "images-50000": 50_000}
"""Recipe -> its training images; all take equally many steps."""
DECAYED = {
    "epochs-3": 3,
    "images-50000": 10,
    "epochs-20": 20,
    "epochs-40": 40,
    "epochs-80": 80,
}
"""Recipe -> its epochs on all images, at whose end the learning rate is 0."""
ARMS = ("dropout", HALF)
SLOPES, BY_SIZE, BY_EPOCHS = "slopes", "sizes", "decayed"


def gap_key(arm: str, epochs: int) -> str:
    """Return the key of the gap between an arm and no noise after so many epochs."""
    return f"{arm} - none, {epochs} epochs"


def slope_key(arm: str) -> str:
    """Return the key of the gap's slope over the doublings of the epochs."""
    return f"{arm} - none, change per doubling"


def size_key(arm: str) -> str:
    """Return the key of the gap at the end of training on so many images."""
    return f"{arm} - none, on so many images"


def decayed_key(arm: str, recipe: str) -> str:
    """Return the key of the gap at the end of a training of DECAYED."""
    return size_key(arm) if recipe in SIZES else f"{arm} - none, after so many epochs"


def comparisons(noise_types: Sequence[str], recipe: Recipe) -> list[Comparison]:
    """Compare with no noise at each horizon, and take the gap's slope over their doublings; of a
    training set of another size, or a schedule of its own, compare at the end."""
    if recipe.name in SIZES:
        name = f"{{}} - none, {SIZES[recipe.name]:,} images"
        return [
            Comparison(size_key(arm), {arm: 1.0, "none": -1.0}, BY_SIZE, name=name.format(arm))
            for arm in ARMS
        ]
    if recipe.name in DECAYED:
        name = f"{{}} - none, {DECAYED[recipe.name]} epochs down to learning rate 0"
        return [
            Comparison(
                decayed_key(arm, recipe.name),
                {arm: 1.0, "none": -1.0},
                BY_EPOCHS,
                name=name.format(arm),
            )
            for arm in ARMS
        ]
    horizons = [epochs for epochs in HORIZONS if epochs <= recipe.epochs]
    doublings = [log2(epochs) for epochs in horizons]
    centred = [x - sum(doublings) / len(doublings) for x in doublings]
    declared = []
    for arm in ARMS:
        declared += [
            Comparison(gap_key(arm, epochs), gap(arm, epochs, 1.0), f"{arm}: horizons")
            for epochs in horizons
        ]
        slope: dict[str, float] = {}
        for epochs, x in zip(horizons, centred, strict=True):
            slope |= gap(arm, epochs, x / sum(value**2 for value in centred))
        # A negligible slope moves the gap by no more than the margin from first to last horizon.
        width = doublings[-1] - doublings[0]
        declared.append(Comparison(slope_key(arm), slope, SLOPES, margin_factor=1 / width))
    return declared


def gap(arm: str, epochs: int, weight: float) -> dict[str, float]:
    """Return `weight` times the difference to no noise after so many epochs."""
    metric = f"{{metric}}_at_{epochs}"
    return {term(arm, metric): weight, term("none", metric): -weight}


def arms(recipe: Recipe, tuned: Tuned) -> dict[str, Arm]:
    """Return no noise, dropout at its tuned rates, and at 0.5; no weight decay in any of them."""
    dropout = tuned[DROPOUT_ALONE if DROPOUT_ALONE in tuned else "dropout"]
    return {
        "none": recipe.arm("none", 0.0, 0.0, 0.0),
        "dropout": recipe.arm("dropout", dropout.rate1, dropout.rate2, 0.0),
        HALF: recipe.arm("dropout", RATE, RATE, 0.0),
    }


DESIGN = Design(
    name="epochs",
    title="What becomes of dropout's gain when training goes on?",
    rule=(
        "No noise, dropout at the rates tuned under the first recipe, and dropout at 0.5, none "
        "with weight decay. One training at a constant learning rate passes through all horizons; "
        "others fall to learning rate 0 by a schedule of their own: trainings on more or fewer "
        "images, which take equally many steps, and longer or shorter ones on all images. A size "
        "that the data set does not have is left out."
    ),
    recipes=("constant", *dict.fromkeys((*SIZES, *DECAYED))),
    comparisons=comparisons,
    arms=arms,
    measures=dict.fromkeys(("none", *ARMS), ("horizons",)),
    values="the rates tuned under another recipe and rate 0.5",
)

TRENDS = {
    "better, matters": "moves in its favour",
    "better": "moves in its favour",
    "worse, matters": "moves against it",
    "worse": "moves against it",
    "inconclusive": "has no sure trend",
}
"""Verdict on a slope -> words; else the gap stays where it is."""


def answer(evidence: Evidence) -> Conclusion:
    """Count the horizons at which dropout gains on no noise, and tell the gap's trend."""
    accuracy = evidence.on("accuracy")
    at_constant = [one for one in accuracy if one.contrast.recipe not in (*SIZES, *DECAYED)]
    answers = by_key(at_constant)
    gaps: dict[tuple[str, int], str] = {}  # arm, horizon -> verdict
    trends = []
    for arm in ARMS:
        for epochs in HORIZONS:
            if gap_key(arm, epochs) in answers:
                verdict = answers[gap_key(arm, epochs)].verdict
                gaps[arm, epochs] = "" if verdict in NEGLIGIBLE else significant_direction(verdict)
        if slope_key(arm) in answers:
            verdict = answers[slope_key(arm)].verdict
            trends.append(f"{arm} {TRENDS.get(verdict, 'stays where it is')}")
    if not gaps:
        raise Unanswered
    verdicts = list(gaps.values())
    return Conclusion(
        verdict=(
            f"Dropout is better in {verdicts.count('better')} of {len(gaps)} gaps to no noise, "
            f"worse in {verdicts.count('worse')}; the gap with more epochs: {listed(trends)}"
        ),
        takeaway=(
            f"Better than no noise: {_places(gaps, 'better')}; worse: {_places(gaps, 'worse')}"
            f"{_by_size(accuracy)}{_by_epochs(accuracy)}"
        ),
    )


def _by_size(accuracy: Sequence[ContrastAnswer]) -> str:
    """Return "; dropout's gain on 1,000 images +2.1 pp, on 50,000 images +0.3 pp"."""
    gaps = [one for one in accuracy if one.contrast.key == size_key("dropout")]
    parts = [
        f"on {SIZES[one.contrast.recipe]:,} images "
        f"{formatting.difference(one.estimate.mean, one.contrast.metric)}"
        for one in sorted(gaps, key=lambda one: SIZES[one.contrast.recipe])
    ]
    return f"; dropout's gain {', '.join(parts)}" if parts else ""


def _by_epochs(accuracy: Sequence[ContrastAnswer]) -> str:
    """Return "; trained down to learning rate 0, after 3 epochs -0.4 pp, after 80 epochs +0.5
    pp"."""
    gains: dict[int, str] = {}
    for one in accuracy:
        contrast = one.contrast
        if contrast.recipe in DECAYED and contrast.key == decayed_key("dropout", contrast.recipe):
            gain = formatting.difference(one.estimate.mean, contrast.metric)
            gains[DECAYED[contrast.recipe]] = gain
    parts = [f"after {epochs} epochs {gains[epochs]}" for epochs in sorted(gains)]
    return f"; trained down to learning rate 0, {', '.join(parts)}" if len(parts) > 1 else ""


def _places(gaps: Mapping[tuple[str, int], str], verdict: str) -> str:
    """Return "dropout after 5, 10 epochs, dropout(0.5,0.5) after 5 epochs"."""
    places = []
    for arm in ARMS:
        horizons = [str(n) for n in HORIZONS if gaps.get((arm, n)) == verdict]
        if horizons:
            places.append(f"{arm} after {', '.join(horizons)} epochs")
    return listed(places)
