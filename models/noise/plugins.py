"""Noise types from outside: a class `package.module:Class`, or a package's entry point.

Nothing is imported before its name is asked for, so what is broken breaks only itself.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
import traceback
from collections.abc import Collection
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from models.noise.base import MOST_RATES, Noise, Rate

GROUP = "dropout_study.noise"
"""The group of entry points by which an installed package registers its noise types."""


def load(name: str) -> type[Noise]:
    """The class of a name, `package.module:Class` or an entry point's.

    Raises:
        KeyError: no entry point has that name.
        ValueError: it cannot be had, in one line that says why.
    """
    return _loaded(name)[0]


def version(name: str) -> str:
    """Return twelve hexadecimal digits of the SHA-256 of the source of a class's file, and of those
    its bases come from.

    It is that of the code as it was loaded. Modules that the file imports for other things do not
    count.
    """
    return _loaded(name)[1]


def plug_ins(registered: Collection[str]) -> list[str]:
    """The names of all entry points, sorted; none is imported.

    Raises:
        ValueError: one has a name that is registered, or that cannot be written in a list of names.
    """
    points = metadata.entry_points(group=GROUP)
    for point in points:
        if point.name in registered:
            raise ValueError(
                f"{_origin(point)} takes the name of a registered noise type: rename it, or "
                "uninstall it"
            )
        if not point.name.replace("-", "_").isidentifier() or point.name in ("all", "preset"):
            raise ValueError(
                f"{_origin(point)} has no usable name: it takes letters, digits and hyphens"
            )
    return sorted(set(points.names))


def failure(name: str, error: Exception) -> str:
    """Tell in one line what a class did wrong in training, and at which line of its file."""
    file = inspect.getfile(load(name))
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    place = f" ({Path(file).name}, line {lines[-1]})" if lines else ""
    return f"noise type {name} failed in training: {_cause(error)}{place}"


@cache
def _loaded(name: str) -> tuple[type[Noise], str]:
    if ":" in name:
        found, what, home = _imported(name), f"noise type {name}", name.partition(":")[0]
    else:
        found, what, home = _plugged_in(name)
    if not (isinstance(found, type) and issubclass(found, Noise)):
        raise ValueError(f"{what} is not a noise type: make it a subclass of models.noise.Noise")
    if not _has_good_rates(found):
        raise ValueError(
            f"{what}: rates must be a tuple of at most {MOST_RATES} Rate, with low <= 0 <= default "
            "<= high"
        )
    # What the repository's own bases and Python's do is covered by the code version, and by the
    # logged versions.
    covered = {"models", *sys.stdlib_module_names}
    modules = dict.fromkeys((home, *_modules_of(found)))
    own = [module for module in modules if module.partition(".")[0] not in covered]
    try:
        source = "".join(inspect.getsource(sys.modules[module]) for module in own)
    except (OSError, TypeError, KeyError) as error:
        raise ValueError(
            f"{what}: its source, on which a result depends, cannot be read: {_cause(error)}"
        ) from error
    return found, hashlib.sha256(source.encode()).hexdigest()[:12]


def _modules_of(found: type[Noise]) -> list[str]:
    """The modules that a class, its bases, and the types that it is composed of come from."""
    own = [base.__module__ for base in found.__mro__]
    return own + [module for part in found.parts for module in _modules_of(part)]


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise ValueError(f"noise type {name} is not of the form package.module:Class")
    try:
        loaded = importlib.import_module(module)
        found = getattr(loaded, attribute, None)  # may import, in a module that loads late
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ValueError(
                f"noise type {name}: there is no module {module}: run where it lies, or put its "
                "folder on PYTHONPATH; a file blink.py is the module blink"
            ) from error
        told = f"noise type {name}: importing {module} failed: {_cause(error)}"
        raise ValueError(told) from error
    if found is None:
        classes = [value for value in vars(loaded).values() if isinstance(value, type)]
        own = ", ".join(one.__name__ for one in classes if one.__module__ == module)
        raise ValueError(
            f"noise type {name}: module {module} has no {attribute}: its classes are {own}"
        )
    return found


def _plugged_in(name: str) -> tuple[Any, str, str]:
    points = metadata.entry_points(group=GROUP, name=name)
    if not points:
        raise KeyError(name)
    if len(points) > 1:
        raise ValueError(
            f"{' and '.join(sorted(map(_origin, points)))} have one name: uninstall all but one"
        )
    (point,) = points
    try:
        return point.load(), _origin(point), point.module
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{_origin(point)} cannot be loaded from {point.value}: {_cause(error)}"
        ) from error


def _has_good_rates(found: type[Noise]) -> bool:
    if not isinstance(found.rates, tuple) or len(found.rates) > MOST_RATES:
        return False
    are_rates = all(isinstance(rate, Rate) for rate in found.rates)
    return are_rates and all(rate.low <= 0 <= rate.default <= rate.high for rate in found.rates)


def _origin(point: metadata.EntryPoint) -> str:
    return f"noise type {point.name} of package {point.dist.name if point.dist else 'unknown'}"


def _cause(error: BaseException) -> str:
    told = str(error).strip().splitlines()
    return f"{type(error).__name__}: {told[0]}" if told else type(error).__name__
