"""The folder of a report: a later report replaces what an earlier one wrote there, and no more."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path

from analysis.formatting import shortened
from analysis.report.escaping import figure_path
from analysis.schema import DECLARATION_FILE, REPORT_FILES, Declaration

MANIFEST = "report_files.json"
"""Names the files of the report in its folder; reports of older code have none."""
WRITTEN_BY, PROJECT = "written by", "dropout-study"

FIXED = (*(name for name in REPORT_FILES if name != "figures"), MANIFEST)
PICTURES = ("curves", "decayed", "example", "grid", "parts", "passes", "reliability", "sizes")
"""Names of pictures of questions; others are named after a recipe."""
SEARCH_FIGURES = ("budget", "rates", "contour", "history", "importance", "slice")
"""Kinds of figures of a search, those of older reports last."""


class ForeignFiles(ValueError):
    """The folder holds files that no report wrote, under names that a report takes."""


def figure_names(declaration: Declaration) -> set[str]:
    """Return the paths that figures of a study may have below the report's folder."""
    names = {figure_path("overview")}
    for question in declaration.questions:
        names.add(figure_path(question.name))
        for picture in (*PICTURES, *declaration.recipes):
            names.add(figure_path(question.name, picture))
    for recipe in declaration.recipes:
        names.add(figure_path("training", recipe))
    for kind, recipe in product(SEARCH_FIGURES, declaration.recipes):
        names.add(figure_path("search", kind, recipe))
    return names


def refuse_foreign_files(folder: Path, figures: Iterable[str] = ()) -> None:
    """Refuse a folder in which a report would replace files of somebody else.

    Args:
        folder: need not exist.
        figures: paths of figures below it, which a report would write beside its other files.

    Raises:
        ForeignFiles: it holds some; the message is one line for the user.
    """
    taken = {name for name in (*FIXED, *figures) if os.path.lexists(folder / name)}
    place = folder / "figures"
    if os.path.lexists(place) and not place.is_dir():
        taken.add("figures")
    foreign = sorted(taken - _written_before(folder))
    if foreign:
        others = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise ForeignFiles(
            f"the folder {shortened(str(folder))} holds {foreign[0]}{others}, which no report of "
            "this project wrote: move it away, or choose another folder by --output"
        )


def replace_report(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a report's files, each replaced whole, and remove those of an earlier report.

    Raises:
        ForeignFiles: the folder holds files of somebody else under their names.
        OSError: the folder cannot be written to.
    """
    refuse_foreign_files(folder, files)
    before = _written_before(folder)
    names = {*files, MANIFEST}
    _write_manifest(folder, before | names)  # a report that is cut short still knows its files
    for name, data in files.items():
        _replace(folder / name, data)
    for stale in before - names:
        (folder / stale).unlink(missing_ok=True)
    _write_manifest(folder, names)


def _written_before(folder: Path) -> set[str]:
    """Return the files that an earlier report wrote."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest[WRITTEN_BY] != PROJECT:
            return set()
        return {str(name) for name in manifest["files"] if _is_inside(str(name))}
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, KeyError):
        return set()  # a file of somebody else
    return _written_by_older_code(folder)


def _written_by_older_code(folder: Path) -> set[str]:
    """Return the names of a report without a list, if the folder holds one."""
    try:
        text = (folder / DECLARATION_FILE).read_text(encoding="utf-8")
        declaration = Declaration.from_json(text)
    except (OSError, ValueError):
        return set()
    if not (folder / "answers.json").exists():
        return set()
    return {*FIXED, *figure_names(declaration)}


def _is_inside(name: str) -> bool:
    """False for a name that leads out of the folder, as on Windows by a backslash."""
    place, _, figure = name.rpartition("/")
    is_figure = place == "figures" and figure.endswith(".svg") and "\\" not in figure
    return name in FIXED or is_figure


def _write_manifest(folder: Path, names: set[str]) -> None:
    text = json.dumps({WRITTEN_BY: PROJECT, "files": sorted(names)}, indent=2)
    _replace(folder / MANIFEST, f"{text}\n".encode())


def _replace(path: Path, data: bytes) -> None:
    """Write beside the file, then rename: a reader sees the old bytes or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".report-", delete=False) as part:
        try:
            part.write(data)
            part.close()
            os.chmod(part.name, 0o666 & ~_umask())  # temporary files are for their owner alone
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
