"""Text from a tracking store becomes no markup of the report, and no path outside its folder.

Jinja escapes it in the HTML page. Markdown has no such switch, and allows HTML and links anywhere.
"""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from typing import Any

TAG = re.compile(r"<(?=[A-Za-z/!?])")
"""The beginning of a tag or an automatic link; a "<" before a blank or a digit is none."""


def in_markdown(content: Any) -> Any:
    """Return the content (a dataclass, or tuples of it) with every text safe in Markdown."""
    if isinstance(content, str):
        return TAG.sub("&lt;", " ".join(content.splitlines())).replace("](", "]\\(")
    if isinstance(content, tuple):
        return tuple(in_markdown(item) for item in content)
    if is_dataclass(content) and not isinstance(content, type):
        safe = {field.name: in_markdown(getattr(content, field.name)) for field in fields(content)}
        return replace(content, **safe)
    return content


def figure_path(*parts: str) -> str:
    """Return a figure's path below the report's folder; names from the store lead nowhere else."""
    return f"figures/{re.sub(r'[^A-Za-z0-9_.+@-]', '-', '-'.join(parts))}.svg"
