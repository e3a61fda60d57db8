"""The folder of a report: a later report replaces what an earlier one wrote there, and no more."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from analysis.formatting import shortened
from analysis.questions import QUESTIONS
from analysis.schema import DECLARATION_FILE, REPORT_FILES, Declaration

MANIFEST = "report_files.json"
"""Names the files of the report in its folder; reports of older code have none."""
WRITTEN_BY, PROJECT = "written by", "dropout-study"

FIXED = (*(name for name in REPORT_FILES if name != "figures"), MANIFEST)
FIGURE = re.compile(
    rf"(?:{'|'.join(map(re.escape, QUESTIONS))})(?:-(?:curves|example|grid|passes))?\.svg"
    r"|search-(?:budget|rates|contour|history|importance|slice)-[\w.+@-]+\.svg"
)
"""Names of figures, those of older reports among them."""


class ForeignFiles(ValueError):
    """The folder holds files that no report wrote, under names that a report takes."""


def refuse_foreign_files(folder: Path) -> None:
    """Refuse a folder in which a report would replace files of somebody else.

    Raises:
        ForeignFiles: it holds some; the message is one line for the user.
    """
    foreign = sorted(_taken(folder) - _written_before(folder))
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
    refuse_foreign_files(folder)
    before = _written_before(folder)
    names = {*files, MANIFEST}
    _write_manifest(folder, before | names)  # a report that is cut short still knows its files
    for name, data in files.items():
        _replace(folder / name, data)
    for stale in before - names:
        (folder / stale).unlink(missing_ok=True)
    _write_manifest(folder, names)


def _taken(folder: Path) -> set[str]:
    """Return the files there whose names a report takes."""
    taken = {name for name in FIXED if os.path.lexists(folder / name)}
    figures = folder / "figures"
    if os.path.lexists(figures) and not figures.is_dir():
        taken.add("figures")
    for path in figures.glob("*.svg"):
        if FIGURE.fullmatch(path.name):
            taken.add(f"figures/{path.name}")
    return taken


def _written_before(folder: Path) -> set[str]:
    """Return the files that an earlier report wrote."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest[WRITTEN_BY] != PROJECT:
            return set()
        return {str(name) for name in manifest["files"] if _is_ours(str(name))}
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, KeyError):
        return set()  # a file of somebody else
    try:
        Declaration.from_json((folder / DECLARATION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return _taken(folder) if (folder / "answers.json").exists() else set()


def _is_ours(name: str) -> bool:
    """False for a name that leads out of the folder, or that no report has."""
    place, _, figure = name.rpartition("/")
    return name in FIXED or (place == "figures" and FIGURE.fullmatch(figure) is not None)


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
