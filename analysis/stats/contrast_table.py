"""The one data frame of a question's contrasts: feeds the page, Markdown and answers.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.schema import Contrast, term
from analysis.stats.results import Answer, ContrastAnswer, Refused
from analysis.stats.verdicts import Arms

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


def contrast_table(answer: Answer, arms: Arms | None = None) -> pd.DataFrame:
    """Return a row for each declared contrast of a question, in the declared order.

    With `coefficients` (arm name -> coefficient), `family`, `candidate` and `p_candidate` every
    row, the adjusted p included, can be recomputed from the run table. A refused contrast has no
    numbers and no runs, the verdict "not answered" ("not entered" for an arm that the declared rule
    did not pick), and the reason for its sentence.

    Args:
        arms: recipe -> arm label -> arm name; without it `coefficients` are those of the labels.
    """
    results: list[ContrastAnswer | Refused] = [*answer.contrasts, *answer.refused]
    found = {one.contrast.identity: one for one in results}
    asked, declared_hash = answer.asked, answer.asked.hash
    records = []
    for contrast in asked.contrasts:
        one = found[contrast.identity]
        low, high = answer.crossed.get(contrast.identity, (math.nan, math.nan))
        own = _answered_row(one, arms) if isinstance(one, ContrastAnswer) else _refused_row(one)
        records.append(
            {
                "question": answer.question,
                "key": contrast.key,
                "contrast": contrast.name,
                "metric": contrast.metric,
                "recipe": contrast.recipe,
                **dict.fromkeys(NUMBERS, math.nan),
                "ci_crossed_low": low,
                "ci_crossed_high": high,
                "margin": contrast.margin,
                "alpha": asked.alpha,
                "declared_hash": declared_hash,
                "family": contrast.family,
                "candidate": contrast.candidate,
                **own,
            }
        )
    return pd.DataFrame(records, columns=list(COLUMNS))


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as answers.json holds them: null for what is undefined."""
    defined = table.replace([math.inf, -math.inf], math.nan).astype({"n_seeds": "Int64"})
    shown = defined.astype(object).where(defined.notna(), None)
    return [dict(record) for record in shown.to_dict("records")]


def _answered_row(answered: ContrastAnswer, arms: Arms | None) -> dict[str, Any]:
    estimate, contrast = answered.estimate, answered.contrast
    return {
        **{name: getattr(estimate, name) for name in NUMBERS if hasattr(estimate, name)},
        "estimate": estimate.mean,
        "n_seeds": estimate.n,
        "p_adjusted": answered.p_adjusted,
        "p_candidate": answered.p_candidate,
        "verdict": answered.verdict,
        "sentence": answered.sentence,
        "run_ids": sorted(answered.run_ids),
        "coefficients": _by_arm(contrast, arms[contrast.recipe]) if arms else contrast.coefficients,
    }


def _refused_row(refused: Refused) -> dict[str, Any]:
    return {
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
