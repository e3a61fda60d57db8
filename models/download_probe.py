"""Whether a data set could be had, asked without fetching it."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from models import download
from models.download import DATASETS, SOCKET_TIMEOUT, DataError, Source


def source_at_hand(name: str, cache: Path) -> str:
    """Which of the sources would be taken: the first that has the data set, or answers.

    Raises:
        DataError: none does; the message says what to do.
    """
    problems = []
    for source, ask in PROBES.items():
        try:
            ask(DATASETS[name])
            return source
        except (RuntimeError, ImportError, OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"{source}: {' '.join(str(error).split())}")
    raise download.nowhere(name, cache, problems)


def _debian_folder(dataset: Source) -> None:
    download.check(dataset, download.SOURCES["Debian's package"](dataset), "Debian's package")


def _torchvision(dataset: Source) -> None:
    import torchvision.datasets  # seconds to import

    listed = getattr(torchvision.datasets, dataset.torchvision)
    (name, _), *_ = listed.resources
    _first_that_answers([mirror + name for mirror in listed.mirrors])


def _debian_archive(dataset: Source) -> None:
    if dataset.debian is None:
        raise DataError("Debian has no package of it")
    if missing := [program for program in ("apt-get", "dpkg-deb") if not shutil.which(program)]:
        raise DataError(f"{' and '.join(missing)} not on this machine")
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    listed = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
    ).stdout
    _first_that_answers(list(dict.fromkeys(listed.split())))


def _first_that_answers(addresses: list[str]) -> None:
    problem = "no address listed"
    for address in addresses:
        try:
            urllib.request.urlopen(
                urllib.request.Request(address, method="HEAD"), timeout=SOCKET_TIMEOUT
            ).close()
            return
        except urllib.error.HTTPError as error:
            # An archive need not have a page at its root; it is there, whatever it thinks of the question.
            if error.code in (403, 404, 405) and address.endswith("/"):
                return
            problem = f"{address}: {error}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            problem = f"{address}: {error}"
    raise DataError(problem)


PROBES: dict[str, Callable[[Source], None]] = {
    "Debian's package": _debian_folder,
    "torchvision's download": _torchvision,
    "Debian's archive": _debian_archive,
}
"""Of the same sources as `models.download.SOURCES`, in the same order."""
