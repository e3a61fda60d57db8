"""The questions on a stored run table whose every estimate, interval and verdict is recomputed here
by other means.

`python -m tests.analysis.test_questions` writes the stored table anew, from the recipe in
`small_run_table`.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import questions
from analysis.questions import QUESTIONS, additivity
from analysis.schema import RUN_TABLE, Contrast, Question
from analysis.stats.paired import estimate as estimate_of
from analysis.stats.paired import gain, gain_interval
from analysis.stats.results import ContrastAnswer, Estimate
from analysis.stats.verdicts import NEGLIGIBLE, VERDICTS, answer_contrasts, decide, sentence

STORED = Path(__file__).parent / "fixtures" / "small_run_table.csv"
SEEDS = tuple(range(1000, 1010))
T_975, T_95 = 2.2621572, 1.8331129  # quantiles of t with 9 degrees of freedom, from tables
MARGINS = {"test/accuracy": 0.002, "test/loss": 0.005}

# What is planted: arm name -> (noise, rate1, rate2, weight decay, accuracy, loss, SD over seeds of
# the arm's accuracy).
# The SD of its loss is the same. On top, a shift shared by all arms of a seed, which pairing must
# take out.
PLANTED = {
    "decay": {
        "dropout(0.1,0.5)": (
            "dropout",
            0.1,
            0.5,
            0.0,
            0.886,
            0.320,
            0.0006,
        ),  # better by 0.6 points
        "dropout(0.5,0.1)": ("dropout", 0.5, 0.1, 0.0, 0.880, 0.340, 0.0006),
        "dropout(0.2,0.5)": (
            "dropout",
            0.2,
            0.5,
            0.0,
            0.885,
            0.330,
            0.0006,
        ),  # no different, but for its loss
        "dropout(0.5,0.2)": ("dropout", 0.5, 0.2, 0.0, 0.885, 0.350, 0.0006),
        "dropout(0.1,0.9)": ("dropout", 0.1, 0.9, 0.0, 0.8705, 0.390, 0.006),  # too noisy to tell
        "dropout(0.9,0.1)": ("dropout", 0.9, 0.1, 0.0, 0.8700, 0.391, 0.006),
        "none wd=0.0001": ("none", 0.0, 0.0, 0.0001, 0.884, 0.340, 0.0006),
        "dropout(0.1,0.2) wd=0.0002": ("dropout", 0.1, 0.2, 0.0002, 0.887, 0.330, 0.0006),
        "gaussian(0.2,0.3) wd=0.0001": ("gaussian", 0.2, 0.3, 0.0001, 0.8915, 0.317, 0.0006),
        "uniform(0.2,0.2) wd=0.0001": ("uniform", 0.2, 0.2, 0.0001, 0.887, 0.345, 0.0006),
    },
    "long": {
        "none": ("none", 0.0, 0.0, 0.0, 0.890, 0.400, 0.0004),
        "dropout(0.2,0.5)": ("dropout", 0.2, 0.5, 0.0, 0.896, 0.360, 0.0004),
        "none wd=0.001": ("none", 0.0, 0.0, 0.001, 0.894, 0.380, 0.0004),
        "dropout(0.2,0.5) wd=0.001": ("dropout", 0.2, 0.5, 0.001, 0.8985, 0.340, 0.0004),
        "gaussian(0.2,0.5) wd=0.0005": ("gaussian", 0.2, 0.5, 0.0005, 0.9035, 0.325, 0.0004),
        "uniform(0.1,0.5) wd=0.0005": ("uniform", 0.1, 0.5, 0.0005, 0.8985, 0.345, 0.0004),
    },
}
EPOCHS = {"decay": 4, "long": 80}
PAIRS = ((0.1, 0.5), (0.2, 0.5), (0.1, 0.9))
LABELS = {
    "decay": {
        **{
            f"dropout({a:g},{b:g})": f"dropout({a:g},{b:g})"
            for p, q in PAIRS
            for a, b in ((p, q), (q, p))
        },
        "tuned none": "none wd=0.0001",
        "tuned dropout": "dropout(0.1,0.2) wd=0.0002",
        "tuned gaussian": "gaussian(0.2,0.3) wd=0.0001",
        "tuned uniform": "uniform(0.2,0.2) wd=0.0001",
    },
    "long": {
        "none": "none",
        "dropout": "dropout(0.2,0.5)",
        "weight decay": "none wd=0.001",
        "both": "dropout(0.2,0.5) wd=0.001",
        "tuned none": "none wd=0.001",
        "tuned dropout": "dropout(0.2,0.5) wd=0.001",
        "tuned gaussian": "gaussian(0.2,0.5) wd=0.0005",
        "tuned uniform": "uniform(0.1,0.5) wd=0.0005",
    },
}


def arm_name(recipe: str, name: str) -> str:
    return f"{name} {recipe}@{EPOCHS[recipe]}"


ARMS = {
    recipe: {label: arm_name(recipe, name) for label, name in labels.items()}
    for recipe, labels in LABELS.items()
}


def small_run_table() -> pd.DataFrame:
    """The stored table: PLANTED plus normal noise from one generator, scores rounded to 1e-4 (one
    test image)."""
    random = np.random.default_rng(2)
    shared = dict(zip(SEEDS, random.normal(0, 0.004, len(SEEDS)), strict=True))
    rows: list[dict[str, object]] = []
    for recipe, planted in PLANTED.items():
        for name, (noise, rate1, rate2, weight_decay, accuracy, loss, sd) in planted.items():
            for seed in SEEDS:
                own = random.normal(0, sd, 2)
                scores = accuracy + shared[seed] + own[0], loss - 2 * shared[seed] + own[1]
                rows.append(
                    {
                        "run_id": f"run{len(rows):03}",
                        "trial_run_id": f"trial{len(rows) // len(SEEDS):02}",
                        "study_id": "small",
                        "phase": "confirm",
                        "question": "swap,additivity,beat-dropout",
                        "arm": arm_name(recipe, name),
                        "trial_hash": f"hash{len(rows) // len(SEEDS):02}",
                        "trial_number": None,
                        "seed": seed,
                        "noise": noise,
                        "rate1": rate1,
                        "rate2": rate2,
                        "weight_decay": weight_decay,
                        "recipe": recipe,
                        "epochs": EPOCHS[recipe],
                        "learning_rate": 0.1,
                        "precision": "float32",
                        "device": "cpu",
                        "data_digest": "0123456789ab",
                        "code_version": 1,
                        "train/loss": round(scores[1] - 0.1, 4),
                        "val/loss": round(scores[1] + 0.01, 4),
                        "val/accuracy": round(scores[0] - 0.002, 4),
                        "val/accuracy_last3": round(scores[0] - 0.002, 4),
                        "test/loss": round(scores[1], 4),
                        "test/accuracy": round(scores[0], 4),
                        "seconds": 1.5,
                    }
                )
    return pd.DataFrame(rows, columns=list(RUN_TABLE))


def stored() -> pd.DataFrame:
    return pd.read_csv(STORED).reindex(columns=list(RUN_TABLE)).astype(RUN_TABLE)


def minus(first: str, second: str) -> dict[str, float]:
    return {first: 1.0, second: -1.0}


def question(name: str, seeds: tuple[int, ...] = SEEDS) -> Question:
    """As analysis.questions declares it: swap under decay, additivity under long, beat-dropout
    under both."""
    rows: list[tuple[str, str, dict[str, float], str, str]]
    if name == "swap":
        rows = [
            (
                "decay",
                f"dropout ({p:g}, {q:g}) - ({q:g}, {p:g})",
                minus(f"dropout({p:g},{q:g})", f"dropout({q:g},{p:g})"),
                "main, decay",
                "",
            )
            for p, q in PAIRS
        ]
    elif name == "additivity":
        pairs = [
            ("dropout", "none"),
            ("weight decay", "none"),
            ("both", "none"),
            ("both", "dropout"),
        ]
        pairs.append(("both", "weight decay"))
        rows = [("long", f"{a} - {b}", minus(a, b), "main, long", "") for a, b in pairs]
        interaction = {"both": 1.0, "dropout": -1.0, "weight decay": -1.0, "none": 1.0}
        rows.append(("long", "interaction", interaction, "main, long", ""))
    else:
        rows = [
            (
                recipe,
                f"{noise} - {rival}",
                minus(f"tuned {noise}", f"tuned {rival}"),
                family,
                candidate,
            )
            for recipe in ("decay", "long")
            for noise, rival, family, candidate in (
                ("gaussian", "dropout", "candidates", "gaussian"),
                ("gaussian", "none", "candidates", "gaussian"),
                ("uniform", "dropout", "candidates", "uniform"),
                ("uniform", "none", "candidates", "uniform"),
                ("dropout", "none", "reference", ""),
            )
        ]
    contrasts = tuple(
        Contrast(title, recipe, metric, coefficients, margin, family, candidate)
        for metric, margin in MARGINS.items()
        for recipe, title, coefficients, family, candidate in rows
    )
    return Question(name, f"Title of {name}", 0.05, seeds, contrasts, "by hand")


NAMES = ("swap", "additivity", "beat-dropout")


# The known answers: the stored file read as text, the paired t in closed form, Holm by hand


def t9_two_sided(t: float) -> float:
    """P(|T| > |t|) with 9 degrees of freedom: the finite series of Abramowitz & Stegun 26.7.3."""
    angle = math.atan(abs(t) / 3)
    cos = math.cos(angle)
    series = cos + 2 / 3 * cos**3 + 8 / 15 * cos**5 + 48 / 105 * cos**7
    return 1 - 2 / math.pi * (angle + math.sin(angle) * series)


def known_differences(contrast: Contrast) -> list[float]:
    with STORED.open(newline="") as file:
        score = {
            (row["arm"], int(row["seed"])): float(row[contrast.metric])
            for row in csv.DictReader(file)
        }
    return [
        sum(
            c * score[ARMS[contrast.recipe][label], seed]
            for label, c in contrast.coefficients.items()
        )
        for seed in SEEDS
    ]


def known_summary(contrast: Contrast) -> tuple[float, float, float]:
    """Mean, its standard error and the p-value."""
    values = known_differences(contrast)
    mean = sum(values) / 10
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / 9 / 10)
    return mean, error, t9_two_sided(mean / error)


def known_adjusted(asked: Question, candidates: bool = False) -> dict[tuple[str, str, str], float]:
    """Holm over the contrasts of family and metric, or over its candidates, each with its largest
    p."""
    adjusted = {}
    for family, metric in {(c.family, c.metric) for c in asked.contrasts}:
        groups: dict[str, list[Contrast]] = {}
        for c in asked.contrasts:
            if (c.family, c.metric) == (family, metric) and (c.candidate or not candidates):
                groups.setdefault(c.candidate if candidates else f"{c.name}/{c.recipe}", []).append(
                    c
                )
        largest = {name: max(known_summary(c)[2] for c in group) for name, group in groups.items()}
        running, left = 0.0, len(largest)
        for name in sorted(largest, key=lambda name: largest[name]):
            running = max(running, min(1.0, left * largest[name]))
            left -= 1
            adjusted.update({key(c): running for c in groups[name]})
    return adjusted


def key(contrast: Contrast) -> tuple[str, str, str]:
    return contrast.name, contrast.recipe, contrast.metric


def known_verdict(contrast: Contrast, p_adjusted: float) -> str:
    mean, error, _ = known_summary(contrast)
    inside = (
        -contrast.margin < mean - T_95 * error and mean + T_95 * error < contrast.margin
    )  # TOST as its interval
    if p_adjusted > 0.05:
        return "equivalent" if inside else "inconclusive"
    gained = mean > 0 if contrast.metric == "test/accuracy" else mean < 0
    beyond = abs(mean) - T_975 * error > contrast.margin
    size = ", negligible" if inside else ", matters" if beyond else ""
    return ("better" if gained else "worse") + size


GOLDEN = {  # (contrast, recipe): (verdict on accuracy, verdict on loss), as PLANTED has them
    "swap": {
        ("dropout (0.1, 0.5) - (0.5, 0.1)", "decay"): ("better, matters", "better, matters"),
        ("dropout (0.2, 0.5) - (0.5, 0.2)", "decay"): ("equivalent", "better, matters"),
        ("dropout (0.1, 0.9) - (0.9, 0.1)", "decay"): ("inconclusive", "inconclusive"),
    },
    "additivity": {
        ("dropout - none", "long"): ("better, matters", "better, matters"),
        ("weight decay - none", "long"): ("better, matters", "better, matters"),
        ("both - none", "long"): ("better, matters", "better, matters"),
        ("both - dropout", "long"): ("better, matters", "better, matters"),
        ("both - weight decay", "long"): ("better, matters", "better, matters"),
        ("interaction", "long"): ("worse, negligible", "equivalent"),
    },
    "beat-dropout": {
        ("gaussian - dropout", "decay"): ("better, matters", "better, matters"),
        ("gaussian - none", "decay"): ("better, matters", "better, matters"),
        ("uniform - dropout", "decay"): ("equivalent", "worse, matters"),
        ("uniform - none", "decay"): (
            "better, matters",
            "worse",
        ),  # though the candidate does not beat dropout
        ("dropout - none", "decay"): ("better, matters", "better, matters"),
        ("gaussian - dropout", "long"): ("better, matters", "better, matters"),
        ("gaussian - none", "long"): ("better, matters", "better, matters"),
        ("uniform - dropout", "long"): ("equivalent", "worse"),
        ("uniform - none", "long"): ("better, matters", "better, matters"),
        ("dropout - none", "long"): ("better, matters", "better, matters"),
    },
}


def answered(name: str, table: pd.DataFrame | None = None, asked: Question | None = None):
    return questions.answer(asked or question(name), stored() if table is None else table, ARMS)


# The stored table


def test_the_stored_table_is_what_its_recipe_makes():
    pd.testing.assert_frame_equal(stored(), small_run_table().astype(RUN_TABLE))


@pytest.mark.parametrize("name", NAMES)
def test_every_estimate_interval_and_verdict_is_recomputed(name):
    asked = question(name)
    adjusted, of_candidates = known_adjusted(asked), known_adjusted(asked, candidates=True)
    found = answered(name).contrasts
    assert [one.contrast for one in found] == list(asked.contrasts)
    for one in found:
        mean, error, p_value = known_summary(one.contrast)
        estimate, p_adjusted = one.estimate, adjusted[key(one.contrast)]
        assert estimate.differences.to_list() == pytest.approx(known_differences(one.contrast))
        assert list(estimate.differences.index) == list(SEEDS)
        assert estimate.mean == pytest.approx(mean)
        assert (estimate.ci_low, estimate.ci_high) == pytest.approx(
            (mean - T_975 * error, mean + T_975 * error)
        )
        assert estimate.p_value == pytest.approx(p_value, abs=1e-9)
        assert one.p_adjusted == pytest.approx(p_adjusted, abs=1e-9)
        p_candidate = of_candidates.get(key(one.contrast), math.nan)
        assert one.p_candidate == pytest.approx(p_candidate, abs=1e-9, nan_ok=True)
        assert one.verdict == known_verdict(one.contrast, p_adjusted)
        place = list(MARGINS).index(one.contrast.metric)
        assert one.verdict == GOLDEN[name][one.contrast.name, one.contrast.recipe][place]


@pytest.mark.parametrize("name", NAMES)
def test_run_ids_are_those_of_the_arms_and_seeds_compared(name):
    with STORED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for one in answered(name).contrasts:
        arms = {ARMS[one.contrast.recipe][label] for label in one.contrast.coefficients}
        assert set(one.run_ids) == {row["run_id"] for row in rows if row["arm"] in arms}
        assert len(one.run_ids) == 10 * len(arms)


@pytest.mark.parametrize("name", NAMES)
def test_row_order_and_foreign_runs_change_nothing(name):
    table = stored()
    foreign = (
        table.assign(phase="search", **{"test/accuracy": 0.1}),
        table.assign(seed=table["seed"] + 500),
    )
    mixed = pd.concat([table, *foreign]).sample(frac=1, random_state=3)
    one, other = answered(name), answered(name, mixed)
    assert (one.verdict, one.sentence, one.takeaway, one.notes) == (
        other.verdict,
        other.sentence,
        other.takeaway,
        other.notes,
    )
    assert [c.sentence for c in one.contrasts] == [c.sentence for c in other.contrasts]
    assert [c.estimate.bca_low for c in one.contrasts] == [
        c.estimate.bca_low for c in other.contrasts
    ]


def test_the_answers_in_words():
    swap, joint, beat = (answered(name) for name in NAMES)
    assert swap.verdict == "Swapping matters in 1 of 3 pairs, 1 undecided"
    assert re.search(
        r"Better than swapped: dropout\(0.1,0.5\) by \d\.\d\d pp; on loss", swap.takeaway
    )
    assert joint.verdict == "Diminishing"
    assert "on loss: additive." in joint.takeaway
    assert beat.verdict == (
        "Dropout and no noise were beaten by gaussian (by more than the margin)"
    )
    assert "on loss, gaussian beats both;" in beat.takeaway
    for answer in (swap, joint, beat):
        assert answer.notes == ()
        assert len(re.findall(r"[.!?](?= |$)", answer.takeaway)) == 2
        assert "for this test set" in answer.takeaway and "for this test set" in answer.caption
        assert answer.asked.hash == question(answer.question).hash


def test_a_name_in_the_registry_is_that_of_its_design():
    assert set(NAMES) <= set(QUESTIONS)


# Decide


def estimate_like(mean: float, error: float, margin: float) -> Estimate:
    return estimate_of(pd.Series(exactly(mean, error), index=SEEDS), margin, 0.05)


def exactly(mean: float, error: float) -> np.ndarray:
    """Ten values with this mean and standard error."""
    z = np.array([-1.5, -1.1, -0.7, -0.4, -0.1, 0.1, 0.4, 0.7, 1.1, 1.5])
    return mean + z * error * math.sqrt(10) / z.std(ddof=1)


# mean and standard error in margins -> verdict where higher is better
SITUATIONS = {
    "better, matters": (2.0, 0.1),
    "worse, matters": (-2.0, 0.1),
    "better": (1.0, 0.2),
    "worse": (-1.0, 0.2),
    "equivalent": (0.1, 0.1),
    "better, negligible": (0.5, 0.1),
    "worse, negligible": (-0.5, 0.1),
    "inconclusive": (0.5, 0.5),
}
TURNED = {verdict: verdict for verdict in VERDICTS} | {
    "better, matters": "worse, matters",
    "worse, matters": "better, matters",
    "better": "worse",
    "worse": "better",
    "better, negligible": "worse, negligible",
    "worse, negligible": "better, negligible",
}


@pytest.mark.parametrize("metric", MARGINS)
@pytest.mark.parametrize("verdict", SITUATIONS)
def test_verdict_and_sentence_hold_together(verdict, metric):
    margin, accuracy = MARGINS[metric], metric == "test/accuracy"
    mean, error = (margin * factor for factor in SITUATIONS[verdict])
    mean = mean if accuracy else -mean
    estimate = estimate_like(mean, error, margin)
    assert decide(estimate, estimate.p_value, margin, 0.05, accuracy) == verdict
    assert decide(estimate, estimate.p_value, margin, 0.05, not accuracy) == TURNED[verdict]

    told = sentence(
        Contrast("a - b", "decay", metric, minus("a", "b"), margin),
        estimate,
        estimate.p_value,
        verdict,
    )
    clause = re.fullmatch(r"a - b \(decay\): (.*?); the mean difference in .*", told)
    assert clause and read_verdict(clause[1]) == verdict
    shown = mean * 100 if accuracy else mean
    digits, unit = (2, "pp") if accuracy else (4, "nats")
    assert f"{shown:+.{digits}f} {unit}".replace("-", "−") in told
    for end in (mean - T_975 * error, mean + T_975 * error):
        assert f"{end * (100 if accuracy else 1):+.{digits}f}".replace("-", "−") in told
    assert "95 % interval" in told and "n = 10 seeds" in told
    assert ("lower is better" in told) == (not accuracy)
    assert ("80 % power" in told) == (verdict == "inconclusive")


def test_a_metric_without_a_direction_is_higher_or_lower() -> None:
    for verdict, (mean, error) in SITUATIONS.items():
        estimate = estimate_like(mean * 0.1, error * 0.1, 0.1)
        neutral = verdict.replace("better", "higher").replace("worse", "lower")
        assert (
            decide(estimate, estimate.p_value, 0.1, 0.05, None) == neutral and neutral in VERDICTS
        )
        contrast = Contrast("a - b", "decay", "variance/log", minus("a", "b"), 0.1)
        told = sentence(contrast, estimate, estimate.p_value, neutral)
        assert neutral.split(",")[0] in told and "better" not in told and "worse" not in told


def read_verdict(clause: str) -> str:
    """The verdict a reader takes from the sentence's clause."""
    (word,) = [
        word
        for word in ("better", "worse", "equivalent", "inconclusive")
        if word in clause.split(",")[0]
    ]
    if "negligible amount" in clause:
        return f"{word}, negligible"
    return f"{word}, matters" if "by more than" in clause else word


def test_an_inconclusive_sentence_says_what_would_settle_it():
    estimate = estimate_like(
        0.001, 0.001, 0.002
    )  # sd 0.00316: 20 or so seeds by 7.85 (sd/margin)^2, and some for t
    declared = Contrast("a - b", "decay", "test/accuracy", minus("a", "b"), 0.002)
    told = sentence(declared, estimate, 0.3, "inconclusive", seconds_per_seed=30.0)
    assert 20 <= estimate.seeds_needed <= 24
    assert (
        f"a fresh study of {estimate.seeds_needed} seeds, about {estimate.seeds_needed / 2:.1f} min"
        in told
    )
    assert "would find one of 0.2 pp" in told
    assert f"detect a difference of {100 * estimate.detectable:.2f} pp" in told
    assert (
        0.0028 < estimate.detectable < 0.0035
    )  # 2.8 standard errors by the normal law, some more by t
    enough = sentence(declared, estimate_like(0.0008, 0.0005, 0.002), 0.3, "inconclusive")
    assert "a fresh study of more than 10 seeds would settle it" in enough


@pytest.mark.parametrize("verdict", ["better", "worse"])
def test_a_gain_under_book_is_labelled(verdict):
    declared = Contrast("a - b", "book", "test/accuracy", minus("a", "b"), 0.002)
    estimate = estimate_like(0.004 if verdict == "better" else -0.004, 0.0002, 0.002)
    assert "end-point stabilisation" in sentence(declared, estimate, 0.01, verdict)
    assert "end-point" not in sentence(replace(declared, recipe="decay"), estimate, 0.01, verdict)


def test_holm_turns_a_better_into_an_inconclusive():
    estimate = estimate_like(0.004, 0.0015, 0.002)
    assert 0.01 < estimate.p_value < 0.04
    assert decide(estimate, estimate.p_value, 0.002, 0.05, True) == "better"
    assert decide(estimate, 3 * estimate.p_value, 0.002, 0.05, True) == "inconclusive"
    assert decide(estimate, 0.05, 0.002, 0.05, True) == "better"  # alpha itself is reached


def test_bad_input_to_decide_is_an_error():
    estimate = estimate_like(0.004, 0.001, 0.002)
    with pytest.raises(ValueError, match="p-value"):
        decide(estimate, math.nan, 0.002, 0.05, True)
    with pytest.raises(ValueError, match="no such verdict"):
        sentence(question("swap").contrasts[0], estimate, 0.1, "splendid")


# Refusals


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda table, rows: table.loc[~rows], "lacks seed 1003"),
        (lambda table, rows: pd.concat([table, table.loc[rows]]), "has seed 1003 more than once"),
        (
            lambda table, rows: table.assign(device=table["device"].mask(rows, "cuda")),
            "mixed device: cpu, cuda",
        ),
    ],
)
def test_a_refused_contrast_is_noted_and_never_counted(spoil, reason):
    table = stored()
    rows = (table["arm"] == ARMS["decay"]["dropout(0.9,0.1)"]) & (table["seed"] == 1003)
    answer = answered("swap", spoil(table, rows))
    assert len(answer.contrasts) == 4
    assert len(answer.notes) == 2 and all(reason in note for note in answer.notes)
    assert answer.verdict == "Swapping matters in 1 of 2 pairs"
    first, second = answer.contrasts[:2]
    low, high = sorted((first.estimate.p_value, second.estimate.p_value))
    assert sorted((first.p_adjusted, second.p_adjusted)) == pytest.approx(
        [3 * low, max(3 * low, 2 * high)]
    )  # of 3


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_claimed_when_everything_is_refused(name):
    for table, reason in (
        (stored().iloc[:0], "has no confirm runs"),
        (stored(), "no arm was picked"),
    ):
        arms = ARMS if "runs" in reason else {}
        answer = questions.answer(question(name), table, arms)
        assert answer.verdict.startswith("Not answered: ") and reason in answer.verdict
        assert answer.contrasts == ()
        assert len(answer.notes) == len(question(name).contrasts)
        assert not re.search(r"better|worse|beat", answer.takeaway)


def test_two_seeds_are_refused_and_five_cannot_reach_alpha_by_sign_flips():
    two = answered("swap", asked=question("swap", SEEDS[:2]))
    assert "2 seeds are too few" in two.verdict
    five = answered("swap", asked=question("swap", SEEDS[:5]))
    assert len(five.contrasts) == 6
    (note,) = five.notes
    assert "5 seeds are too few for the sign-flip test" in note and "it needs 7" in note


def test_a_candidate_with_a_refused_contrast_cannot_win():
    table = stored()
    rows = (table["arm"] == ARMS["decay"]["tuned gaussian"]) & (table["seed"] == 1003)
    answer = answered("beat-dropout", table.loc[~rows])
    left = [one for one in answer.contrasts if one.contrast.candidate == "gaussian"]
    assert [one.contrast.recipe for one in left] == ["long"] * 4
    assert {one.p_candidate for one in left} == {1.0}
    # Each for itself is as good as before.
    assert {one.verdict for one in left} == {"better, matters"}
    assert answer.verdict == "Nothing beat both dropout and no noise; untested: gaussian"
    assert any("gaussian" in note and "p is set to 1" in note for note in answer.notes)
    uniform = [one for one in answer.contrasts if one.contrast.candidate == "uniform"]
    accuracy = [one for one in uniform if one.contrast.metric == "test/accuracy"]
    largest = max(one.estimate.p_value for one in accuracy)
    assert {one.p_candidate for one in accuracy} == {
        min(1.0, 2 * largest)
    }  # the refused one stays in the family


def test_labels_of_one_arm_are_named():
    arms = {
        "long": ARMS["long"]
        | {"weight decay": ARMS["long"]["none"], "both": ARMS["long"]["dropout"]}
    }
    answer = questions.answer(question("additivity"), stored(), arms)
    assert answer.verdict == "Undetermined"  # the tuned weight decay is 0
    assert "weight decay alone is equivalent to none" in answer.takeaway
    assert any(
        "interaction" in note and "both and dropout are the same arm" in note
        for note in answer.notes
    )


# Beat-dropout on planted tables


def shifted(label: str, accuracy: dict[str, float]) -> pd.DataFrame:
    """The stored table with one label's accuracy moved under each recipe."""
    table = stored()
    for recipe, shift in accuracy.items():
        table.loc[table["arm"] == ARMS[recipe][label], "test/accuracy"] += shift
    return table


def test_a_candidate_must_win_under_every_recipe():
    assert answered("beat-dropout", shifted("tuned gaussian", {"long": -0.006})).verdict.startswith(
        "Nothing beat both dropout and no noise"
    )
    assert (
        answered("beat-dropout", shifted("tuned gaussian", {"decay": -0.02})).verdict
        == "Nothing beat both dropout and no noise"
    )


def test_beating_by_less_than_the_margin_is_said():
    answer = answered("beat-dropout", shifted("tuned gaussian", {"long": -0.0035}))
    assert answer.verdict == (
        "Dropout and no noise were beaten by gaussian (by a negligible amount)"
    )
    larger = answered("beat-dropout", shifted("tuned gaussian", {"long": -0.0028}))
    assert larger.verdict == "Dropout and no noise were beaten by gaussian (by how much is open)"


def test_a_negligible_gain_over_no_noise_is_not_called_one_that_matters():
    """Far above dropout and a hair above no noise: it wins, but not by what matters over both."""
    table = stored()
    for recipe in ("decay", "long"):
        score = {"tuned none": 0.9, "tuned dropout": 0.88, "tuned gaussian": 0.9005}
        for place, (label, mean) in enumerate(score.items()):
            jitter = exactly(0.0, 0.00003) if place == 2 else 0.0
            table.loc[table["arm"] == ARMS[recipe][label], "test/accuracy"] = mean + jitter
    answer = answered("beat-dropout", table)
    verdicts = {
        one.contrast.name: one.verdict
        for one in answer.contrasts
        if one.contrast.metric == "test/accuracy"
    }
    assert (
        verdicts["gaussian - dropout"] == "better, matters"
        and verdicts["gaussian - none"] == "better, negligible"
    )
    assert answer.verdict == (
        "Dropout and no noise were beaten by gaussian (by a negligible amount)"
    )
    (note,) = answer.notes
    assert note.startswith(
        "worse than no noise although rate 0 was in the search: tuned uniform, dropout."
    )


def test_a_candidate_does_not_lend_its_contrasts_its_own_p():
    """Equal to dropout, and so no winner; that it is worse than no noise is told all the same."""
    table = shifted("tuned none", {"decay": 0.02})
    answer = answered("beat-dropout", table)
    found = {key(one.contrast): one for one in answer.contrasts}
    harm, equal = (
        found["uniform - none", "decay", "test/accuracy"],
        found["uniform - dropout", "decay", "test/accuracy"],
    )
    assert (harm.verdict, equal.verdict) == ("worse, matters", "equivalent")
    assert harm.p_adjusted < 0.001 < 0.05 < harm.p_candidate == equal.p_candidate
    assert "adjusted p < 0.001" in harm.sentence and "candidate" not in harm.sentence
    (note,) = answer.notes
    assert note == (
        "worse than no noise although rate 0 was in the search: tuned gaussian, uniform, "
        "dropout. More search trials would find weaker noise"
    )


def test_significant_contrasts_in_the_wrong_direction_do_not_win():
    answer = answered("beat-dropout", shifted("tuned gaussian", {"decay": -0.02, "long": -0.02}))
    gaussian = [one for one in answer.contrasts if one.contrast.candidate == "gaussian"]
    assert max(one.p_candidate for one in gaussian if one.contrast.metric == "test/accuracy") < 0.05
    assert answer.verdict == "Nothing beat both dropout and no noise"


def test_without_candidates_the_question_says_that_none_was_searched():
    """Five seeds: the note on the sign-flip test is no reason."""
    asked = question("beat-dropout", SEEDS[:5])
    asked = replace(asked, contrasts=tuple(one for one in asked.contrasts if not one.candidate))
    answer = answered("beat-dropout", asked=asked)
    assert answer.verdict == "Not answered: no other noise type was searched"
    assert answer.sentence == "Not answered: no other noise type was searched."
    assert len(answer.contrasts) == 4


def test_a_note_on_sensitivity_is_never_the_reason():
    asked = question("additivity", SEEDS[:5])
    accuracy = [one for one in asked.contrasts if one.metric == "test/accuracy"]
    loss = [one for one in asked.contrasts if one.metric != "test/accuracy"]
    answer = answered("additivity", asked=replace(asked, contrasts=tuple(loss)))
    assert any("sign-flip" in note for note in answer.notes)
    assert answer.verdict == "Not answered: the contrasts that decide were not declared"
    rows = stored()["arm"] == ARMS["long"]["both"]
    partly = answered(
        "additivity", stored().loc[~rows], replace(asked, contrasts=(*loss, *accuracy))
    )
    assert (
        "both - none (long; test/accuracy)" in partly.verdict
        and "has no confirm runs" in partly.verdict
    )


def test_two_winners_are_both_named():
    answer = answered("beat-dropout", shifted("tuned uniform", {"decay": 0.005, "long": 0.005}))
    assert answer.verdict == (
        "Dropout and no noise were beaten by uniform (by more than the margin), "
        "gaussian (by more than the margin)"
    )  # the surest gain first


def by_class(table: pd.DataFrame, image_types: set[str]) -> str:
    """The verdict where these types know that an input is an image."""
    asked = [question("beat-dropout")]
    (answer,) = questions.answer_all(asked, table, ARMS, image_types=image_types)
    return answer.verdict


def test_each_class_of_noise_has_its_own_answer():
    """One that knows images may win where nothing else does, and the other way round."""
    both = shifted("tuned uniform", {"decay": 0.005, "long": 0.005})
    assert by_class(both, {"uniform"}) == (
        "Noise for any input: dropout and no noise were beaten by gaussian (by more than the "
        "margin). Noise that knows images: dropout and no noise were beaten by uniform (by more "
        "than the margin)"
    )
    nothing, won = "nothing beat both dropout and no noise", "dropout and no noise were beaten by"
    for image_type, others, images in (("uniform", won, nothing), ("gaussian", nothing, won)):
        verdict = by_class(stored(), {image_type})
        assert verdict.startswith(f"Noise for any input: {others}")
        assert f". Noise that knows images: {images}" in verdict
        assert ("gaussian" in verdict.partition(". ")[2]) == (image_type == "gaussian")
    neither = shifted("tuned gaussian", {"decay": -0.02, "long": -0.02})
    assert by_class(neither, {"uniform"}) == (
        f"Noise for any input: {nothing}. Noise that knows images: {nothing}"
    )
    assert by_class(neither, set()) == nothing.capitalize()  # of one class alone, as ever


def test_a_class_without_a_test_says_so():
    table = stored()
    gone = table.loc[table["arm"] != ARMS["long"]["tuned gaussian"]]
    assert by_class(gone, {"gaussian"}).endswith(
        ". Noise that knows images: no type was tested against both dropout and no noise; "
        "untested: gaussian"
    )


def test_a_noisy_candidate_is_undecided_and_a_poor_one_ruled_out():
    table = stored()
    rows = table["arm"] == ARMS["long"]["tuned gaussian"]
    table.loc[rows, "test/accuracy"] += np.tile([0.02, -0.02], 5)
    answer = answered("beat-dropout", table)
    assert answer.verdict == "Nothing beat both dropout and no noise, 1 of 2 undecided"
    assert "ruled out for 1 of 2" in answer.takeaway


# Swap and additivity on planted tables


def test_a_planted_swap_is_found_and_turned():
    answer = answered("swap", shifted("dropout(0.5,0.2)", {"decay": 0.01}))
    assert answer.verdict == "Swapping matters in 2 of 3 pairs, 1 undecided"
    assert answer.contrasts[1].verdict == "worse, matters"
    order = (
        r"Better than swapped: dropout\(0.1,0.5\) by [\d.]+ pp, dropout\(0.5,0.2\) by [\d.]+ pp;"
    )
    assert re.search(order, answer.takeaway)
    equal = answered("swap", shifted("dropout(0.1,0.5)", {"decay": -0.006}))
    assert equal.verdict == "Swapping matters in 0 of 3 pairs, 1 undecided"
    assert "No order is shown to be better;" in equal.takeaway


BETTER = dict.fromkeys(additivity.COMPARISONS, "better")
GAINS = {"dropout": 0.006, "weight decay": 0.004}
WIDE, NARROW = (-0.004, 0.004), (-0.0009, 0.0009)
CLASSES = [
    ("undetermined", {"weight decay - none": "inconclusive"}, NARROW),
    ("undetermined", {"dropout - none": "better, negligible"}, NARROW),
    ("undetermined", {"dropout - none": "worse", "both - none": "worse"}, NARROW),
    (
        "antagonistic",
        {"both - none": "worse", "both - dropout": "worse", "interaction": "worse"},
        WIDE,
    ),
    ("antagonistic", {"both - none": "worse, negligible", "both - dropout": "worse"}, WIDE),
    (
        "cancelling",
        {"both - none": "equivalent", "both - dropout": "worse", "interaction": "worse"},
        WIDE,
    ),
    ("redundant", {"both - dropout": "equivalent", "interaction": "worse"}, WIDE),
    ("redundant", {"both - dropout": "better, negligible", "interaction": "worse"}, WIDE),
    ("synergistic", {"interaction": "better"}, WIDE),
    ("additive", {"interaction": "better, negligible"}, NARROW),  # comes before synergistic
    ("additive", {"interaction": "worse, negligible"}, NARROW),
    ("additive", {"interaction": "equivalent"}, NARROW),
    ("additive", {"interaction": "worse, negligible"}, (-0.0009, -0.0001)),
    ("diminishing", {"interaction": "worse"}, (-0.003, -0.001)),
    ("undetermined", {"interaction": "worse", "both - dropout": "inconclusive"}, (-0.003, -0.001)),
    ("undetermined", {"interaction": "inconclusive"}, WIDE),
    (
        "undetermined",
        {"interaction": "inconclusive"},
        (-0.0011, 0.0009),
    ),  # beyond a quarter of 0.004, below
    ("undetermined", {"interaction": "inconclusive"}, (-0.0009, 0.0011)),  # and above
]


@pytest.mark.parametrize(("name", "verdicts", "interval"), CLASSES)
def test_every_class_of_additivity(name, verdicts, interval):
    assert additivity.classify(BETTER | verdicts, GAINS, interval)[0] == name


def test_the_pair_is_held_against_the_better_single():
    verdicts = BETTER | {"both - weight decay": "equivalent", "interaction": "worse"}
    assert additivity.classify(verdicts, GAINS, WIDE)[0] == "diminishing"
    assert (
        additivity.classify(verdicts, {"dropout": 0.004, "weight decay": 0.006}, WIDE)[0]
        == "redundant"
    )


# Class -> (accuracy of dropout, weight decay, both), and the loss that mirrors it; none has 0.89.
PLANTED_CLASSES = {
    "antagonistic": (0.896, 0.894, 0.885),
    "cancelling": (0.896, 0.894, 0.890),
    "redundant": (0.896, 0.894, 0.896),
    "synergistic": (0.896, 0.894, 0.905),
    "additive": (0.896, 0.894, 0.900),
    "diminishing": (0.904, 0.902, 0.909),
    "undetermined": (0.896, 0.890, 0.896),
}


@pytest.mark.parametrize("name", PLANTED_CLASSES)
def test_a_planted_class_is_found_on_accuracy_and_on_loss(name):
    table = stored()
    table = table.assign(**{metric: table[metric].astype(float) for metric in MARGINS})
    random = np.random.default_rng(0)
    for label, score in zip(
        ("none", "dropout", "weight decay", "both"), (0.89, *PLANTED_CLASSES[name]), strict=True
    ):
        rows = table["arm"] == ARMS["long"][label]
        table.loc[rows, "test/accuracy"] = score + random.normal(0, 0.0002, 10)
        table.loc[rows, "test/loss"] = 0.4 - 5 * (score - 0.89) + random.normal(0, 0.0005, 10)
    answer = answered("additivity", table)
    assert answer.verdict.lower().startswith(name)
    assert f"on loss: {name}." in answer.takeaway
    alone = "better by more than the margin than none and weight decay alone is equivalent to none"
    assert (alone in answer.takeaway) == (name == "undetermined")


def test_additive_is_judged_by_the_90_percent_interval():
    """An interaction of 0 with a standard error 0.0005: 0.00092 at 90 %, 0.00113 at 95 %; the bound
    is 0.001."""
    table = stored()
    for label, score in zip(
        ("none", "dropout", "weight decay", "both"), (0.89, 0.896, 0.894, 0.9), strict=True
    ):
        values = score + (exactly(0.0, 0.0005) if label == "both" else 0.0)
        table.loc[table["arm"] == ARMS["long"][label], "test/accuracy"] = values
    assert answered("additivity", table).verdict.startswith("Additive")


def test_a_gain_in_loss_is_a_decrease():
    accuracy, loss = (
        next(c for c in answered("swap").contrasts if c.contrast.metric == metric)
        for metric in MARGINS
    )
    for one, sign in ((accuracy, 1), (loss, -1)):
        low, high = gain_interval(one)
        assert 0 < low < gain(one) < high
        assert gain(one) == sign * one.estimate.mean
        assert low == pytest.approx(one.estimate.ci_low if sign > 0 else -one.estimate.ci_high)


def test_a_verdict_of_equivalence_is_one_of_the_negligible():
    assert [verdict for verdict in VERDICTS if verdict in NEGLIGIBLE] == list(NEGLIGIBLE)


def test_contrasts_can_be_answered_without_a_question_of_their_own():
    asked = replace(question("swap"), name="other", contrasts=question("swap").contrasts[:1])
    (found,), refused, notes = vars(answer_contrasts(asked, stored(), ARMS)).values()
    assert isinstance(found, ContrastAnswer) and refused == notes == ()
    assert found.p_adjusted == found.estimate.p_value  # alone in its family


def test_the_figure_is_drawn_when_asked_for():
    from matplotlib.figure import Figure

    assert isinstance(answered("swap").figure(), Figure)


if __name__ == "__main__":
    STORED.parent.mkdir(exist_ok=True)
    small_run_table().to_csv(STORED, index=False, lineterminator="\n")
