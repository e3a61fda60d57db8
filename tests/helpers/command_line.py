"""The command line as the tests call it: in this process, in a fresh folder, with a fresh store."""

from __future__ import annotations

from collections.abc import Callable

Call = Callable[..., tuple[int, str]]
"""Of the fixture `call`: arguments -> exit code and standard error."""


def one_line(stderr: str) -> str:
    """The only line there is."""
    lines = stderr.strip().splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    return lines[0]
