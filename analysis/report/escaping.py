"""Text from a tracking store becomes no markup of the report, and no path outside its folder.

Jinja escapes it in the HTML page. Markdown has no such switch, and allows HTML and links anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

TAG = re.compile(r"<(?=[A-Za-z/!?])")
"""The beginning of a tag or an automatic link; a "<" before a blank or a digit is none."""


def in_markdown(content: Any) -> Any:
    """Return the content (a dataclass, or tuples of it) with every text safe in Markdown."""
    return map_texts(content, _safe_in_markdown)


def _safe_in_markdown(text: str) -> str:
    return TAG.sub("&lt;", " ".join(text.splitlines())).replace("](", "]\\(")


def map_texts(content: Any, change: Callable[[str], str]) -> Any:
    """Return the content (a dataclass, or tuples of it) with every text changed."""
    if isinstance(content, str):
        return change(content)
    if isinstance(content, tuple):
        return tuple(map_texts(item, change) for item in content)
    if is_dataclass(content) and not isinstance(content, type):
        names = [field.name for field in fields(content)]
        return replace(
            content, **{name: map_texts(getattr(content, name), change) for name in names}
        )
    return content


def figure_path(*parts: str) -> str:
    """Return a figure's path below the report's folder; names from the store lead nowhere else."""
    return f"figures/{re.sub(r'[^A-Za-z0-9_.+@-]', '-', '-'.join(parts))}.svg"
