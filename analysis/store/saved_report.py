"""Reads a study back from the files of its report, for who has no tracking store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from analysis import schema
from analysis.formatting import one_line
from analysis.schema import Declaration
from analysis.store import run_table
from analysis.store.reader import Study
from analysis.store.uri import StoreError

TABLE_FILE = "run_table.csv"


def read(folder: Path) -> Study:
    """The study of a report: its declaration, its arms and its run table; what only the store knows
    is left empty.

    Raises:
        StoreError: the folder holds no report, or one that is damaged.
    """
    try:
        declaration = Declaration.from_json(
            (folder / schema.DECLARATION_FILE).read_text(encoding="utf-8")
        )
        arms = _arms((folder / schema.ARMS_FILE).read_text(encoding="utf-8"))
        table = _table(folder / TABLE_FILE)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{folder} holds no report: no {Path(error.filename or '').name} in it"
        ) from None
    except OSError as error:
        raise StoreError(
            f"the report in {folder} cannot be read: {error.strerror or one_line(error)}"
        ) from None
    except ValueError as error:
        raise StoreError(f"the report in {folder} is damaged: {one_line(error)}") from None
    return Study(declaration.study_id, "", schema.EXPERIMENT, declaration, arms, table)


def _arms(text: str) -> dict[str, dict[str, str]]:
    """Recipe -> arm label -> arm name.

    Raises:
        ValueError: the text is something else.
    """
    try:
        return TypeAdapter(dict[str, dict[str, str]]).validate_json(text, strict=True)
    except ValidationError:
        told = f"{schema.ARMS_FILE} does not hold the arms' names by recipe and label"
        raise ValueError(told) from None


def _table(file: Path) -> pd.DataFrame:
    """The run table.

    Raises:
        ValueError: it lacks a column, has text where numbers stand, or a search trial without its
            number.
    """
    columns = pd.read_csv(file, nrows=0).columns
    lacking = [name for name in schema.RUN_TABLE if name not in columns]
    if needed := [name for name in lacking if name not in run_table.OPTIONAL]:
        raise ValueError(f"{file.name} lacks the column {needed[0]}")
    types = {name: schema.RUN_TABLE.get(name, "float64") for name in columns}
    # A noise type may be called null or nan: only an empty cell is missing.
    table = pd.read_csv(file, dtype=types, keep_default_na=False, na_values=[""])
    # A report of older code lacks some.
    measured = [name for name in columns if name not in schema.RUN_TABLE]
    table = table.reindex(columns=[*schema.RUN_TABLE, *measured])
    table = table.astype({name: schema.RUN_TABLE[name] for name in lacking})
    if table.loc[table["phase"] == schema.SEARCH, "trial_number"].isna().any():
        raise ValueError(f"{file.name} has a search trial without its trial_number")
    return table.copy()  # in one piece: read column by column, it is slow to select rows from
