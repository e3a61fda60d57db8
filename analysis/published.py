"""Reads a study back from the files of its report, for who has no tracking store."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from analysis.address import StoreError
from analysis.runs import Study
from study import schema
from study.schema import Declaration

TABLE_FILE = "run_table.csv"


def read(folder: Path) -> Study:
    """The study of a report: its declaration, its arms and its run table; what only the store knows is left empty.

    Raises:
        StoreError: the folder holds no report, or one that is damaged.
    """
    try:
        declaration = Declaration.from_json((folder / schema.DECLARATION_FILE).read_text())
        arms = json.loads((folder / schema.ARMS_FILE).read_text())
        columns = pd.read_csv(folder / TABLE_FILE, nrows=0).columns
        types = {name: schema.RUN_TABLE.get(name, "float64") for name in columns}
        table = pd.read_csv(folder / TABLE_FILE, dtype=types)
    except OSError as error:
        raise StoreError(f"{folder} holds no report: no {Path(error.filename or '').name} in it") from None
    except ValueError as error:
        raise StoreError(f"the report in {folder} is damaged: {str(error).splitlines()[0]}") from None
    return Study(declaration.study_id, "", schema.EXPERIMENT, declaration, arms, table)
