"""The declared questions: every module here but `base` holds one, with its answer in analysis/questions/<same name>."""

from importlib import import_module
from pkgutil import iter_modules

from study.designs.base import Design

_MODULES = [
    import_module(f"{__name__}.{module.name}")
    for module in iter_modules(__path__)
    if module.name != "base"
]

DESIGNS: dict[str, Design] = {
    design.name: design
    for design in sorted(
        (module.DESIGN for module in _MODULES), key=lambda design: (design.exercise, design.name)
    )
}

__all__ = ["DESIGNS", "Design"]
