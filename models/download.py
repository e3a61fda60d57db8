"""The sources of the data sets, and the check of their files."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import shutil
import struct
import subprocess
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.client import HTTPException
from itertools import product
from pathlib import Path
from typing import TypeVar

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CLASSES = 10
DEBIAN_FOLDER = Path("/usr/share/datasets")
SOCKET_TIMEOUT = 5.0
"""Seconds a download may stay silent; a host may have several addresses, and each is given this
long."""

IN_FOLDER = "path:"
"""Before a folder, in place of a data set's name: the FILES in it are used as they are."""
FEWEST = 100
"""Images to train on, and to test on, that a folder must have at least."""

Got = TypeVar("Got")
Files = dict[str, bytes]
"""IDX file name -> unpacked content."""


class DataError(RuntimeError):
    """The data cannot be had, or is damaged; the message is one line that says what to do."""


FAILURES = (RuntimeError, ImportError, OSError, HTTPException, subprocess.TimeoutExpired)
"""Errors of a source that cannot be used; DataError is one of the first."""


@dataclass(frozen=True)
class Source:
    """Where a data set can be found, and the SHA-256 of its unpacked FILES where known."""

    torchvision: str
    debian: str | None = None
    sha256: tuple[str, ...] | None = None


DATASETS = {
    "fashion-mnist": Source(
        torchvision="FashionMNIST",
        debian="fashion-mnist",
        sha256=(  # of the content of Debian's dataset-fashion-mnist 0.0~git20200523.55506a9-1
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
    # No pins for these: form, size and label range, and torchvision's MD5 of a download.
    "mnist": Source(torchvision="MNIST"),
    "kmnist": Source(torchvision="KMNIST"),
}


def read_folder(*folders: Path) -> Files:
    """Read those of FILES that are in one of the folders, unpacked.

    A file may be plain or .gz, and be named as Kaggle does: train-images.idx3-ubyte.

    Raises:
        DataError: one that cannot be read.
    """
    files: Files = {}
    for name, folder in product(FILES, folders):
        for spelling in (name, f"{name}.gz", dotted(name), f"{dotted(name)}.gz"):
            if name not in files:
                content = _read(folder / spelling)
                if content is not None:
                    files[name] = content
    return files


def dotted(name: str) -> str:
    """Return the other common spelling of a file's name: train-images.idx3-ubyte."""
    return name.replace("-idx", ".idx")


def _read(path: Path) -> bytes | None:
    """Return the unpacked content; None where there is no such file."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked ({error})") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None


def read_own(folder: Path) -> Files:
    """Read FILES of one's own: any number of images of 28 x 28 bytes, labelled 0 to 9.

    Raises:
        DataError: no such folder, or the first thing in it that is not so.
    """
    if not folder.is_dir():
        raise DataError(f"{IN_FOLDER}{folder}: there is no such folder")
    files = read_folder(folder, folder / "raw")
    if missing := [file for file in FILES if file not in files]:
        raise DataError(f"{folder} lacks {', '.join(missing)} (plain or .gz)")
    for images, labels in (FILES[:2], FILES[2:]):
        size = check_idx(files[images], images, folder)
        count = check_idx(files[labels], labels, folder)
        if size != count:
            raise DataError(f"{images} in {folder} has {size} images, {labels} {count} labels")
        if size < FEWEST:
            raise DataError(f"{images} in {folder} has {size} images, and {FEWEST} are the fewest")
    return files


def check_idx(content: bytes, file: str, folder: Path | str) -> int:
    """Check an unpacked IDX file of images or labels, and return how many it has.

    Raises:
        DataError: it is not of the form that its name says.
    """
    place = f"{file} in {folder}"
    dimensions = 3 if "idx3" in file else 1
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes((0, 0, 8, dimensions)):
        raise DataError(f"{place} is damaged: no IDX file of bytes in {dimensions} dimensions")
    count, *shape = struct.unpack_from(f">{dimensions}I", content, 4)
    size = start + math.prod((count, *shape))
    if len(content) != size:
        raise DataError(f"{place} is damaged: {len(content)} bytes unpacked where {size} belong")
    if dimensions == 3 and shape != [28, 28]:
        raise DataError(f"{place} has images of {shape[0]} x {shape[1]}, where 28 x 28 belong")
    if dimensions == 1 and count and max(content[start:]) >= CLASSES:
        raise DataError(
            f"{place} has a label {max(content[start:])}, where 0 to {CLASSES - 1} belong"
        )
    return count


def check(dataset: Source, files: Files, folder: str) -> None:
    """Check those of FILES that are there: their form, their number, their SHA-256 where known.

    Raises:
        DataError: the first that is not what its name says.
    """
    for place, file in enumerate(FILES):
        if file not in files:
            continue
        count, expected = check_idx(files[file], file, folder), 60_000 if place < 2 else 10_000
        if count != expected:
            raise DataError(f"{file} in {folder} is damaged: {count} items, not {expected}")
        digest = hashlib.sha256(files[file]).hexdigest()
        if dataset.sha256 and digest != dataset.sha256[place]:
            raise DataError(
                f"{file} in {folder} has wrong content: SHA-256 {digest}, expected "
                f"{dataset.sha256[place]}"
            )


def fetch(name: str, cache: Path) -> tuple[str, Files]:
    """Return the first of SOURCES that has the data set whole and good, and its files.

    Raises:
        DataError: none has it; the message says what to do.
    """

    def whole(source: str) -> Files:
        files = SOURCES[source](DATASETS[name])
        check(DATASETS[name], files, source)
        return files

    return _first_of(SOURCES, whole, name, cache)


def reachable_source(name: str, cache: Path) -> str:
    """Return the source that `fetch` would try first with success, without fetching anything.

    Raises:
        DataError: none answers; the message says what to do.
    """
    source, _ = _first_of(PROBES, lambda source: PROBES[source](DATASETS[name]), name, cache)
    return source


def _first_of(
    sources: Iterable[str], attempt: Callable[[str], Got], name: str, cache: Path
) -> tuple[str, Got]:
    """Return the first source where the attempt succeeds, and what it gave."""
    problems = []
    for source in sources:
        try:
            return source, attempt(source)
        except FAILURES as error:
            problems.append(f"{source}: {' '.join(str(error).split())}")
    debian = DATASETS[name].debian
    package = f" run `apt-get install dataset-{debian}`," if debian else ""
    raise DataError(
        f"{name} cannot be had from any source: connect to the internet,{package} or put the files "
        f"{', '.join(FILES)} (plain or .gz) into {cache} ({'; '.join(problems)})"
    )


def _from_debian_folder(dataset: Source, root: Path = DEBIAN_FOLDER) -> Files:
    if dataset.debian is None:
        raise DataError("Debian has no package of it")
    files = read_folder(root / dataset.debian)
    if len(files) < len(FILES):
        raise DataError(f"{root / dataset.debian} has {len(files)} of the {len(FILES)} files")
    return files


def _from_torchvision(dataset: Source) -> Files:
    """Download as torchvision does, checked by its MD5; its own code knows no timeout."""
    import torchvision.datasets  # seconds to import, and needed on the first start only

    listed = getattr(torchvision.datasets, dataset.torchvision)
    return {
        name.removesuffix(".gz"): _download(listed.mirrors, name, md5)
        for name, md5 in listed.resources
    }


def _download(mirrors: list[str], name: str, md5: str) -> bytes:
    problem = "no mirror listed"
    for mirror in mirrors:
        try:
            with urllib.request.urlopen(mirror + name, timeout=SOCKET_TIMEOUT) as response:
                packed = response.read()
        except (OSError, HTTPException) as error:
            problem = f"{mirror}{name}: {error}"
            continue
        if hashlib.md5(packed, usedforsecurity=False).hexdigest() == md5:
            return gzip.decompress(packed)
        problem = f"{mirror}{name} has the wrong MD5"
    raise DataError(problem)


def _probe_torchvision(dataset: Source) -> None:
    import torchvision.datasets

    listed = getattr(torchvision.datasets, dataset.torchvision)
    address = listed.mirrors[0] + listed.resources[0][0]
    request = urllib.request.Request(address, method="HEAD")
    urllib.request.urlopen(request, timeout=SOCKET_TIMEOUT).close()


def _probe_debian_archive(dataset: Source) -> None:
    if dataset.debian is None:
        raise DataError("Debian has no package of it")
    if missing := [program for program in ("apt-get", "dpkg-deb") if not shutil.which(program)]:
        raise DataError(f"{' and '.join(missing)} not on this machine")
    targets = _run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], Path())
    address, *_ = [*targets.split(), ""]
    try:
        urllib.request.urlopen(address, timeout=SOCKET_TIMEOUT).close()
    except urllib.error.HTTPError:
        pass  # an archive need not have a page at its root: one that answers is there
    except ValueError as error:
        raise DataError("no archive is configured") from error


def _from_debian_archive(dataset: Source) -> Files:
    """Unpack Debian's package, by the machine's apt sources but in a folder of our own: no root."""
    if dataset.debian is None:
        raise DataError("Debian has no package of it")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for folder in ("lists/partial", "cache/archives/partial", "package"):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        # Of the machine's settings only Acquire (proxies) is kept: its update hooks would clean up
        # caches not ours.
        dump = _run(["apt-config", "dump"], root)
        settings = [line for line in dump.splitlines() if line.startswith("Acquire::")] + [
            'Dir::Etc::parts "/dev/null";',
            'Dir::Etc::main "/dev/null";',
            f'Dir::State::lists "{root}/lists";',
            f'Dir::State::status "{root}/status";',
            f'Dir::Cache "{root}/cache";',
            'APT::Sandbox::User "root";',  # or root's apt would become _apt, who cannot write here
            'Acquire::Languages "none";',
            f'Acquire::http::Timeout "{SOCKET_TIMEOUT:.0f}";',
            f'Acquire::https::Timeout "{SOCKET_TIMEOUT:.0f}";',
        ]
        (root / "apt.conf").write_text("\n".join(settings) + "\n")
        config = {"APT_CONFIG": str(root / "apt.conf")}
        # Another repository of the machine may be broken.
        _run(["apt-get", "update"], root, config, check=False)
        _run(["apt-get", "download", f"dataset-{dataset.debian}"], root, config)
        _run(["dpkg-deb", "-x", *(str(package) for package in root.glob("*.deb")), "package"], root)
        return _from_debian_folder(dataset, root / "package" / DEBIAN_FOLDER.relative_to("/"))


def _run(
    command: list[str], folder: Path, settings: dict[str, str] | None = None, check: bool = True
) -> str:
    """Return a command's standard output; DataError with its last line of complaint if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C", **(settings or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if check and done.returncode != 0:
        *_, complaint = ["failed", *done.stderr.strip().splitlines()]
        raise DataError(f"{' '.join(command[:2])}: {complaint}")
    return done.stdout


SOURCES: dict[str, Callable[[Source], Files]] = {
    "Debian's package": _from_debian_folder,
    "torchvision's download": _from_torchvision,
    "Debian's archive": _from_debian_archive,
}
"""Name -> what fetches FILES from there, in the order in which they are tried."""

PROBES: dict[str, Callable[[Source], object]] = {
    "Debian's package": _from_debian_folder,
    "torchvision's download": _probe_torchvision,
    "Debian's archive": _probe_debian_archive,
}
"""Name of a source -> what asks whether it answers."""
