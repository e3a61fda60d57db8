"""Where a data set can be had, and whether what was got is what it claims to be."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import math
import os
import struct
import subprocess
import tempfile
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
HEADERS = (
    struct.pack(">4I", 0x803, 60_000, 28, 28),
    struct.pack(">2I", 0x801, 60_000),
    struct.pack(">4I", 0x803, 10_000, 28, 28),
    struct.pack(">2I", 0x801, 10_000),
)
CLASSES = 10
DEBIAN_FOLDER = Path("/usr/share/datasets")
SOCKET_TIMEOUT = 5.0
"""Seconds a download may stay silent; a host may have several addresses, and each is given this long."""

IN_FOLDER = "path:"
"""Before a folder, in place of a data set's name: the FILES in it are used as they are."""
FEWEST = 100
"""Images to train on, and to test on, that a folder must have at least."""

Files = dict[str, bytes]
"""IDX file name -> unpacked content."""


class DataError(RuntimeError):
    """The data cannot be had or is not what it should be. The message is one line and says what to do."""


@dataclass(frozen=True)
class Source:
    """Where a data set can be found, and the SHA-256 of its unpacked FILES where these are known."""

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
    "mnist": Source(
        torchvision="MNIST"
    ),  # no pins: form, size and label range, and torchvision's MD5 of a download
    "kmnist": Source(torchvision="KMNIST"),
}


def read_folder(folder: Path) -> Files:
    """Those of FILES that are in the folder, plain or as .gz, unpacked; DataError for one that cannot be."""
    files: Files = {}
    for path in (folder / (file + suffix) for file in FILES for suffix in ("", ".gz")):
        try:
            if path.stem not in files:
                files[path.stem] = (
                    gzip.decompress(path.read_bytes()) if path.suffix else path.read_bytes()
                )
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path} cannot be unpacked ({error})") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})") from None
    return files


def read_own(folder: Path) -> Files:
    """FILES of a data set of one's own: as many images as there are, of 28 x 28 bytes, labelled 0 to 9.

    Raises:
        DataError: no such folder, or the first thing in it that is not so; nothing says what the content should be.
    """
    if not folder.is_dir():
        raise DataError(f"{IN_FOLDER}{folder}: there is no such folder")
    files = read_folder(folder)
    if missing := [file for file in FILES if file not in files]:
        raise DataError(f"{folder} lacks {', '.join(missing)} (plain or .gz)")
    for images, labels in (FILES[:2], FILES[2:]):
        size, pixels = _shape(files[images], 0x803, f"{images} in {folder}")
        count, _ = _shape(files[labels], 0x801, f"{labels} in {folder}")
        if pixels != [28, 28]:
            raise DataError(
                f"{images} in {folder} has images of {pixels[0]} x {pixels[1]}, where 28 x 28 belong"
            )
        if size != count:
            raise DataError(f"{images} in {folder} has {size} images, {labels} {count} labels")
        if size < FEWEST:
            raise DataError(f"{images} in {folder} has {size} images, and {FEWEST} are the fewest")
        if (highest := max(files[labels][8:])) >= CLASSES:
            raise DataError(
                f"{labels} in {folder} has a label {highest}, where 0 to {CLASSES - 1} belong"
            )
    return files


def _shape(content: bytes, magic: int, which: str) -> tuple[int, list[int]]:
    """How many, and of what size each, an IDX file of bytes says it has; DataError when it has not."""
    start = 4 + 4 * (magic & 0xFF)
    if len(content) < start or content[:4] != magic.to_bytes(4, "big"):
        raise DataError(f"{which} is no IDX file of bytes in {magic & 0xFF} dimensions")
    count, *rest = struct.unpack_from(f">{magic & 0xFF}I", content, 4)
    if len(content) != (size := start + math.prod((count, *rest))):
        raise DataError(f"{which} is damaged: {len(content)} bytes unpacked where {size} belong")
    return count, rest


def check(dataset: Source, files: Files, where: str) -> None:
    """DataError for the first of `files` that is not what its name says."""
    for i, (file, header) in enumerate(zip(FILES, HEADERS, strict=True)):
        if file not in files:
            continue
        content, shape = files[file], struct.unpack(f">{len(header) // 4}I", header)[1:]
        size = len(header) + int(np.prod(shape))
        if len(content) != size:
            raise DataError(
                f"{file} in {where} is damaged: {len(content)} bytes unpacked where {size} belong"
            )
        if not content.startswith(header):
            raise DataError(
                f"{file} in {where} is damaged: its header is not that of {shape} bytes in IDX form"
            )
        if len(shape) == 1 and max(content[len(header) :]) >= CLASSES:
            raise DataError(f"{file} in {where} is damaged: it has labels above {CLASSES - 1}")
        if dataset.sha256 and (found := hashlib.sha256(content).hexdigest()) != dataset.sha256[i]:
            raise DataError(
                f"{file} in {where} has wrong content: SHA-256 {found}, expected {dataset.sha256[i]}"
            )


def fetch(name: str, cache: Path) -> tuple[str, Files]:
    """Description and files of the first of SOURCES that has the data set whole and good."""
    dataset, problems = DATASETS[name], list[str]()
    for source, get in SOURCES.items():
        try:
            files = get(dataset)
            check(dataset, files, source)
            return source, files
        except (
            RuntimeError,
            ImportError,
            OSError,
            EOFError,
            zlib.error,
            subprocess.TimeoutExpired,
        ) as error:
            problems.append(f"{source}: {' '.join(str(error).split())}")
    raise nowhere(name, cache, problems)


def nowhere(name: str, cache: Path, problems: list[str]) -> DataError:
    """What is said of a data set that no source has, with each source's problem."""
    debian = DATASETS[name].debian
    package = f" run `apt-get install dataset-{debian}`," if debian else ""
    return DataError(
        f"{name} cannot be had from any source: connect to the internet,{package} or put the files {', '.join(FILES)}"
        f" (plain or .gz) into {cache} ({'; '.join(problems)})"
    )


def _from_debian_folder(dataset: Source, root: Path = DEBIAN_FOLDER) -> Files:
    if dataset.debian is None:
        raise DataError("Debian has no package of it")
    files = read_folder(root / dataset.debian)
    if len(files) < len(FILES):
        raise DataError(f"{root / dataset.debian} has {len(files)} of the {len(FILES)} files")
    return files


def _from_torchvision(dataset: Source) -> Files:
    """From the addresses that torchvision lists, checked by its MD5 of the .gz; its own download knows no timeout."""
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
        except (OSError, http.client.HTTPException) as error:
            problem = f"{mirror}{name}: {error}"
            continue
        if hashlib.md5(packed, usedforsecurity=False).hexdigest() == md5:
            return gzip.decompress(packed)
        problem = f"{mirror}{name} has the wrong MD5"
    raise DataError(problem)


def _from_debian_archive(dataset: Source) -> Files:
    """Debian's package, by the machine's own apt sources and keys but in a folder of our own: needs no root."""
    if dataset.debian is None:
        raise DataError("Debian has no package of it")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for folder in ("lists/partial", "cache/archives/partial", "package"):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        # Of the machine's settings only Acquire (proxies) is kept: its update hooks would clean up caches not ours.
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
        _run(
            ["apt-get", "update"], root, config, check=False
        )  # another repository of the machine may be broken
        _run(["apt-get", "download", f"dataset-{dataset.debian}"], root, config)
        _run(["dpkg-deb", "-x", *(str(package) for package in root.glob("*.deb")), "package"], root)
        return _from_debian_folder(dataset, root / "package" / DEBIAN_FOLDER.relative_to("/"))


def _run(
    command: list[str], folder: Path, settings: dict[str, str] | None = None, check: bool = True
) -> str:
    """Standard output of a command run in `folder`; DataError with its last line of complaint when it fails."""
    environment = {**os.environ, "LC_ALL": "C", **(settings or {})}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if check and done.returncode != 0:
        raise DataError(
            f"{' '.join(command[:2])}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}"
        )
    return done.stdout


SOURCES: dict[str, Callable[[Source], Files]] = {
    "Debian's package": _from_debian_folder,
    "torchvision's download": _from_torchvision,
    "Debian's archive": _from_debian_archive,
}
