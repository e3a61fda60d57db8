"""The one data frame of a question's contrasts: feeds the page, Markdown and answers.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.schema import Contrast, term
from analysis.stats.results import Answer, ContrastAnswer, Refused

UNANSWERED, NOT_ENTERED = "not answered", "not entered"

NUMBERS = (
    "estimate",
    "sd",
    "ci_low",
    "ci_high",
    "ci_crossed_low",
    "ci_crossed_high",
    "p_value",
    "p_adjusted",
    "p_candidate",
    "p_tost",
    "p_sign_flip",
    "bca_low",
    "bca_high",
    "effect_size",
    "p_superior",
    "n_seeds",
)
COLUMNS = (
    "question",
    "key",
    "contrast",
    "metric",
    "recipe",
    *NUMBERS,
    "margin",
    "alpha",
    "verdict",
    "sentence",
    "run_ids",
    "declared_hash",
    "coefficients",
    "family",
    "candidate",
)


def contrast_table(
    answer: Answer, arms: Mapping[str, Mapping[str, str]] | None = None
) -> pd.DataFrame:
    """Return a row for each declared contrast of a question, in the declared order.

    With `coefficients` (arm name -> coefficient), `family`, `candidate` and `p_candidate` every
    row, the adjusted p included, can be recomputed from the run table. A refused contrast has no
    numbers and no runs, the verdict "not answered" ("not entered" for an arm that the declared rule
    did not pick), and the reason for its sentence.

    Args:
        arms: recipe -> arm label -> arm name; without it `coefficients` are those of the labels.
    """
    rows = {}
    for answered in answer.contrasts:
        rows[answered.contrast.identity] = _answered_row(answered, arms)
    for refused in answer.refused:
        rows[refused.contrast.identity] = _refused_row(refused)
    records = []
    for contrast in answer.declared:
        low, high = answer.crossed.get(contrast.identity, (math.nan, math.nan))
        records.append(
            {
                "question": answer.question,
                "key": contrast.key,
                "contrast": contrast.name,
                "metric": contrast.metric,
                "recipe": contrast.recipe,
                "ci_crossed_low": low,
                "ci_crossed_high": high,
                "margin": contrast.margin,
                "alpha": answer.alpha,
                "declared_hash": answer.declared_hash,
                "family": contrast.family,
                "candidate": contrast.candidate,
                **rows[contrast.identity],
            }
        )
    return pd.DataFrame(records, columns=list(COLUMNS))


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as answers.json holds them: null for what is undefined."""
    records: list[dict[str, Any]] = []
    for row in table.to_dict("records"):
        record: dict[str, Any] = {}
        for name, value in row.items():
            undefined = isinstance(value, float) and not math.isfinite(value)
            record[str(name)] = None if undefined else value
        if record["n_seeds"] is not None:
            record["n_seeds"] = int(record["n_seeds"])
        records.append(record)
    return records


def _answered_row(
    answered: ContrastAnswer, arms: Mapping[str, Mapping[str, str]] | None
) -> dict[str, Any]:
    estimate = answered.estimate
    contrast = answered.contrast
    coefficients = contrast.coefficients
    if arms:
        coefficients = _by_arm(contrast, arms[contrast.recipe])
    return {
        "estimate": estimate.mean,
        "sd": estimate.sd,
        "ci_low": estimate.ci_low,
        "ci_high": estimate.ci_high,
        "p_value": estimate.p_value,
        "p_adjusted": answered.p_adjusted,
        "p_candidate": answered.p_candidate,
        "p_tost": estimate.p_tost,
        "p_sign_flip": estimate.p_sign_flip,
        "bca_low": estimate.bca_low,
        "bca_high": estimate.bca_high,
        "effect_size": estimate.effect_size,
        "p_superior": estimate.p_superior,
        "n_seeds": estimate.n,
        "verdict": answered.verdict,
        "sentence": answered.sentence,
        "run_ids": sorted(answered.run_ids),
        "coefficients": coefficients,
    }


def _refused_row(refused: Refused) -> dict[str, Any]:
    return {
        **dict.fromkeys(set(NUMBERS) - {"ci_crossed_low", "ci_crossed_high"}, math.nan),
        "verdict": UNANSWERED if refused.entered else NOT_ENTERED,
        "sentence": refused.reason,
        "run_ids": [],
        "coefficients": None,
    }


def _by_arm(contrast: Contrast, arms: Mapping[str, str]) -> dict[str, float]:
    """Return arm name, with ":metric" where it is not the contrast's -> summed coefficient."""
    coefficients: dict[str, float] = {}
    for label, metric, coefficient in contrast.terms:
        name = arms[label] if metric == contrast.metric else term(arms[label], metric)
        coefficients[name] = coefficients.get(name, 0.0) + coefficient
    return coefficients
