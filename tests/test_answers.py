"""The questions on a stored run table whose every estimate, interval and verdict is recomputed here by other means.

`python -m tests.test_answers` writes the stored table anew, from the recipe in `small_run_table`.
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

from analysis.answer import ContrastAnswer, Estimate
from analysis.decide import NEGLIGIBLE, VERDICTS, answer_contrasts, decide, sentence
from analysis.questions import QUESTIONS, additivity
from analysis.stats import estimate as estimate_of
from study.schema import RUN_TABLE, Contrast, Question

STORED = Path(__file__).parent / "fixtures" / "small_run_table.csv"
SEEDS = tuple(range(1000, 1010))
T_975, T_95 = 2.2621572, 1.8331129  # quantiles of t with 9 degrees of freedom, from tables
MARGINS = {"test/accuracy": 0.002, "test/loss": 0.005}

# What is planted: arm name -> (noise, rate1, rate2, weight decay, accuracy, loss, SD over seeds of the arm's accuracy).
# The SD of its loss is the same. On top, a shift shared by all arms of a seed, which pairing must take out.
PLANTED = {
    "decay": {
        "dropout(0.1,0.5)": ("dropout", 0.1, 0.5, 0.0, 0.886, 0.320, 0.0006),  # better by 0.6 points
        "dropout(0.5,0.1)": ("dropout", 0.5, 0.1, 0.0, 0.880, 0.340, 0.0006),
        "dropout(0.2,0.5)": ("dropout", 0.2, 0.5, 0.0, 0.885, 0.330, 0.0006),  # no different, but for its loss
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
        **{f"dropout({a:g},{b:g})": f"dropout({a:g},{b:g})" for p, q in PAIRS for a, b in ((p, q), (q, p))},
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
    recipe: {label: arm_name(recipe, name) for label, name in labels.items()} for recipe, labels in LABELS.items()
}


def small_run_table() -> pd.DataFrame:
    """The stored table: PLANTED plus normal noise from one generator, scores rounded to 1e-4 (one test image)."""
    random = np.random.default_rng(2)
    shared = dict(zip(SEEDS, random.normal(0, 0.004, len(SEEDS)), strict=True))
    rows = []
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
    return pd.DataFrame(rows)[list(RUN_TABLE)]


def stored() -> pd.DataFrame:
    return pd.read_csv(STORED).astype(RUN_TABLE)


def minus(first: str, second: str) -> dict[str, float]:
    return {first: 1.0, second: -1.0}


def question(name: str, seeds: tuple[int, ...] = SEEDS) -> Question:
    """As study.designs declares it: swap under decay, additivity under long, beat-dropout under both."""
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
        pairs = [("dropout", "none"), ("weight decay", "none"), ("both", "none"), ("both", "dropout")]
        pairs.append(("both", "weight decay"))
        rows = [("long", f"{a} - {b}", minus(a, b), "main, long", "") for a, b in pairs]
        interaction = {"both": 1.0, "dropout": -1.0, "weight decay": -1.0, "none": 1.0}
        rows.append(("long", "interaction", interaction, "main, long", ""))
    else:
        rows = [
            (recipe, f"{noise} - {rival}", minus(f"tuned {noise}", f"tuned {rival}"), family, candidate)
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
        score = {(row["arm"], int(row["seed"])): float(row[contrast.metric]) for row in csv.DictReader(file)}
    return [
        sum(c * score[ARMS[contrast.recipe][label], seed] for label, c in contrast.coefficients.items())
        for seed in SEEDS
    ]


def known_summary(contrast: Contrast) -> tuple[float, float, float]:
    """Mean, its standard error and the p-value."""
    values = known_differences(contrast)
    mean = sum(values) / 10
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / 9 / 10)
    return mean, error, t9_two_sided(mean / error)


def known_adjusted(asked: Question) -> dict[Contrast, float]:
    adjusted: dict[int, float] = {}
    for family, metric in {(c.family, c.metric) for c in asked.contrasts}:
        groups: dict[str, list[int]] = {}
        for place, c in enumerate(asked.contrasts):
            if (c.family, c.metric) == (family, metric):
                groups.setdefault(c.candidate or f"{c.name}/{c.recipe}", []).append(place)
        largest = {name: max(known_summary(asked.contrasts[i])[2] for i in places) for name, places in groups.items()}
        running, left = 0.0, len(largest)
        for name in sorted(largest, key=lambda name: largest[name]):
            running = max(running, min(1.0, left * largest[name]))
            left -= 1
            adjusted.update(dict.fromkeys(groups[name], running))
    return {_key(asked.contrasts[place]): p for place, p in adjusted.items()}


def _key(contrast: Contrast):
    return contrast.name, contrast.recipe, contrast.metric


VERDICTS_PLANTED = {
    ("swap", "dropout (0.1, 0.5) - (0.5, 0.1)", "decay"): ("better", "better"),
    ("swap", "dropout (0.2, 0.5) - (0.5, 0.2)", "decay"): ("equivalent", "better"),
    ("swap", "dropout (0.1, 0.9) - (0.9, 0.1)", "decay"): ("inconclusive", "inconclusive"),
}


def test_print():
    for name in NAMES:
        a = QUESTIONS[name](question(name), stored(), ARMS)
        print()
        for field in ("verdict", "sentence", "takeaway", "caption", "notes"):
            print(field, ":", getattr(a, field))
        for c in a.contrasts:
            print(_key(c.contrast), c.verdict, "|", c.sentence)


if __name__ == "__main__":
    STORED.parent.mkdir(exist_ok=True)
    small_run_table().to_csv(STORED, index=False, lineterminator="\n")
