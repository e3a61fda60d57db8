"""Reads the tracking store and answers the questions; the only reader. These four are all that a
notebook needs:

    runs = load_runs("docs/results")  # a report's folder, or without one the tracking store
    runs.table  # pandas, one row for each trained network
    found = answer("swap", runs)  # found.verdict, found.sentence
    estimates(found)  # pandas, one row for each contrast
    draw(found)  # matplotlib axes

Nothing is imported before it is used, and never torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from analysis.stats.results import Answer
    from analysis.store.reader import Study

ESTIMATES = [
    "contrast",
    "recipe",
    "metric",
    "estimate",
    "ci_low",
    "ci_high",
    "p_adjusted",
    "margin",
    "seeds",
    "verdict",
]
"""The columns of `estimates`."""

__all__ = ["answer", "draw", "estimates", "load_runs"]


def load_runs(
    folder: str | Path | None = None,
    *,
    study_id: str | None = None,
    experiment: str | None = None,
    preset: str | None = None,
) -> Study:
    """One study: from a report's folder, or from the tracking store that MLFLOW_TRACKING_URI names.

    Args:
        folder: holds a report; no store is needed then.
        study_id: which study of the store, by its id; the newest if none is given.
        experiment: name of the MLflow experiment, `dropout-study` if none is given.
        preset: only studies of this preset count.

    Raises:
        analysis.store.uri.StoreError: there is no such store, study or report.
    """
    if folder is not None:
        if study_id or experiment or preset:
            raise ValueError(
                "a report's folder holds one study: study_id, experiment and preset are for the "
                "store"
            )
        from analysis.store import saved_report

        return saved_report.read(Path(folder))
    from analysis.store import reader as runs

    return runs.load(study_id, experiment, preset)


def answer(question: str, runs: Study) -> Answer:
    """The answer to a declared question, from the study's runs.

    Raises:
        ValueError: the study did not declare this question.
        analysis.store.uri.StoreError: it did, but only another version of this code knows it.
    """
    from analysis import questions
    from analysis.formatting import recipes_in_words
    from analysis.stats.agreement import sharing

    declared = {one.name: one for one in runs.declaration.questions}
    if question not in declared:
        raise ValueError(f"this study has no question {question!r}; it has {', '.join(declared)}")
    # Together with those that ask for the same difference, which has one verdict.
    asked = declared[question]
    known = [one for one in declared.values() if one.name in questions.QUESTIONS or one == asked]
    together = sharing(asked, known, runs.arms)
    recipes = recipes_in_words(runs.declaration)
    answers = questions.answer_all(
        together,
        runs.table,
        runs.arms,
        runs.images,
        recipes,
        runs.declaration.image_types,
        runs.bins,
    )
    return next(one for one in answers if one.question == question)


def estimates(answer: Answer) -> pd.DataFrame:
    """Return the answered contrasts, a row each: in the metric's own unit, p adjusted by family."""
    from analysis.stats.contrast_table import contrast_table

    table = contrast_table(answer)
    table = table[table["estimate"].notna()].rename(columns={"n_seeds": "seeds"})
    return table[ESTIMATES].reset_index(drop=True).astype({"seeds": int})


def draw(answer: Answer, picture: str = "") -> list[Axes]:
    """The question's figure, or one of its further pictures by name; `draw(found)[0].figure` shows
    it in a notebook.

    Raises:
        ValueError: the answer has no such picture.
    """
    pictures = {"": answer.figure, **{one.name: one.draw for one in answer.pictures}}
    if picture not in pictures:
        known = ", ".join(filter(None, pictures)) or "none beside its figure"
        raise ValueError(f"{answer.question} has no picture {picture!r}; it has {known}")
    return list(pictures[picture]().axes)
