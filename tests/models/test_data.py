"""The data is what it claims to be, is found where it may lie, and is split the same way every
time."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import logging
import shutil
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from models import download
from models.data import Images, Split, load, split, validation_size
from models.download import FILES, DataError
from study.trial import Setting
from study.worker import load_split

DIGEST = "14410854cf7a289477dcfc7df3f8ec24741e281cdcc425ede0d9a748ca630214"
SPLIT_DIGEST = "ff2a1ba45559a4d6"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A data folder of links to the real files; replace a link to damage the copy only."""
    (tmp_path / "fashion-mnist").mkdir()
    for file in FILES:
        source = next(
            p for s in ("", ".gz") if (p := folder / "fashion-mnist" / (file + s)).exists()
        )
        (tmp_path / "fashion-mnist" / source.name).symlink_to(source.resolve())
    return tmp_path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(dataset: download.Source) -> download.Files:
        raise OSError("no route to host")

    monkeypatch.setattr(download, "SOURCES", {"somewhere": unreachable, "elsewhere": unreachable})


HEADERS = (
    struct.pack(">4I", 0x803, 60_000, 28, 28),
    struct.pack(">2I", 0x801, 60_000),
    struct.pack(">4I", 0x803, 10_000, 28, 28),
    struct.pack(">2I", 0x801, 10_000),
)


@pytest.fixture(scope="session")
def made_up() -> download.Files:
    """A data set of MNIST's form: random labels, images of one grey each."""
    rng = np.random.default_rng(0)
    bodies = (
        np.full(47_040_000, 7),
        rng.integers(0, 10, 60_000),
        np.full(7_840_000, 7),
        rng.integers(0, 10, 10_000),
    )
    return {
        f: head + body.astype(np.uint8).tobytes()
        for f, head, body in zip(FILES, HEADERS, bodies, strict=True)
    }


def replace_file(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def read_labels(copy: Path) -> bytes:
    return download.read_folder(copy / "fashion-mnist")[FILES[3]]


# What is loaded


def test_fashion_mnist_is_the_published_data(images: Images) -> None:
    assert images.name == "fashion-mnist" and images.digest == DIGEST
    assert images.train_images.shape == (60_000, 784) and images.train_images.dtype == np.uint8
    assert images.test_images.shape == (10_000, 784) and images.test_images.dtype == np.uint8
    assert images.train_labels.dtype == images.test_labels.dtype == np.int64
    assert np.bincount(images.train_labels).tolist() == [6_000] * 10
    assert np.bincount(images.test_labels).tolist() == [1_000] * 10


def test_second_load_reads_the_folder_and_says_so(
    copy: Path, offline: None, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, logger="models.data"):
        assert load("fashion-mnist", copy).digest == DIGEST
    assert [record.getMessage() for record in caplog.records] == [
        f"data set fashion-mnist read from {copy / 'fashion-mnist'}"
    ]
    assert capsys.readouterr().out == ""


def test_packed_files_will_do(copy: Path, offline: None) -> None:
    labels = read_labels(copy)
    for path in (copy / "fashion-mnist").glob(f"{FILES[3]}*"):
        path.unlink()
    (copy / "fashion-mnist" / f"{FILES[3]}.gz").write_bytes(gzip.compress(labels))
    assert load("fashion-mnist", copy).digest == DIGEST


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_other_data_set_stands_in_by_name(
    name: str, made_up: download.Files, tmp_path: Path, offline: None
) -> None:
    (tmp_path / name).mkdir()
    for file, content in made_up.items():
        (tmp_path / name / file).write_bytes(content)
    images = load(name, tmp_path)
    assert (
        images.name == name
        and images.digest == hashlib.sha256(b"".join(made_up.values())).hexdigest()
    )
    assert images.train_labels.tolist() == list(made_up[FILES[1]][8:])
    assert (images.test_images == 7).all()
    replace_file(tmp_path / name / FILES[1], made_up[FILES[1]][:-1] + b"\x0a")
    with pytest.raises(
        DataError, match="train-labels-idx1-ubyte .* a label .*, where 0 to 9 belong"
    ):
        load(name, tmp_path)


def own_files(
    train: int = 600, test: int = 100, size: int = 28, classes: int = 10
) -> download.Files:
    """Files of a small data set of one's own, label i at places i, i + classes, ..."""
    content = []
    for count in (train, test):
        content.append(struct.pack(">4I", 0x803, count, size, size) + bytes(count * size * size))
        content.append(struct.pack(">2I", 0x801, count) + bytes(i % classes for i in range(count)))
    return dict(zip(FILES, content, strict=True))


def write(folder: Path, files: download.Files) -> Path:
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def test_files_of_ones_own_by_path(tmp_path: Path, offline: None) -> None:
    """By the folder's name, wherever it lies; packed or not; with as many images as it has."""
    files = own_files()
    here, there = (
        write(tmp_path / "letters", files),
        write(tmp_path / "elsewhere" / "letters", files),
    )
    (there / FILES[0]).unlink()
    (there / f"{FILES[0]}.gz").write_bytes(gzip.compress(files[FILES[0]]))
    found = load(f"path:{here}", tmp_path / "unused")
    assert found.name == load(f"path:{there}").name == "path:letters"
    assert (
        found.digest
        == load(f"path:{there}").digest
        == hashlib.sha256(b"".join(files.values())).hexdigest()
    )
    assert found.train_images.shape == (600, 784) and found.test_labels.shape == (100,)
    parts = load_split(Setting(f"path:{here}", "unused", "cpu"))
    assert (len(parts.train_y), len(parts.validation_y), len(parts.test_y)) == (500, 100, 100)
    assert validation_size(60_000) == 10_000
    assert not (tmp_path / "unused").exists()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "raw"])
def test_files_by_their_other_names(
    tmp_path: Path, offline: None, packed: bool, below: str
) -> None:
    """Kaggle's train-images.idx3-ubyte, torchvision's folder raw."""
    files = own_files()
    place = tmp_path / "letters" / below
    place.mkdir(parents=True)
    for name, content in files.items():
        other = download.dotted(name) if not below else name
        data = gzip.compress(content) if packed else content
        (place / f"{other}{'.gz' if packed else ''}").write_bytes(data)
    digest = hashlib.sha256(b"".join(files.values())).hexdigest()
    assert load(f"path:{tmp_path / 'letters'}").digest == digest


def test_torchvisions_folder_under_the_data_folder_is_taken(
    copy: Path, tmp_path: Path, offline: None
) -> None:
    (copy / "FashionMNIST").mkdir()
    (copy / "fashion-mnist").rename(copy / "FashionMNIST" / "raw")
    assert load("fashion-mnist", copy).digest == DIGEST
    assert not (copy / "fashion-mnist").exists()


def test_the_published_data_by_path_is_split_as_by_name(copy: Path) -> None:
    found = load(f"path:{copy / 'fashion-mnist'}")
    assert found.digest == DIGEST and split(found).digest == SPLIT_DIGEST


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            own_files(size=32),
            "train-images-idx3-ubyte in .* has images of 32 x 32, where 28 x 28 belong",
        ),
        (
            own_files(classes=26),
            "train-labels-idx1-ubyte in .* has a label 25, where 0 to 9 belong",
        ),
        (own_files(test=99), "t10k-images-idx3-ubyte in .* has 99 images, and 100 are the fewest"),
        (own_files(train=0), "has 0 images"),
        (
            own_files() | {FILES[1]: own_files(601)[FILES[1]]},
            "has 600 images, train-labels-idx1-ubyte 601 labels",
        ),
        (
            own_files() | {FILES[0]: own_files()[FILES[1]]},
            "no IDX file of bytes in 3 dimensions",
        ),
        (own_files() | {FILES[3]: b""}, "t10k-labels-idx1-ubyte in .* no IDX file"),
        (
            own_files() | {FILES[2]: own_files()[FILES[2]][:-1]},
            "78415 bytes unpacked where 78416 belong",
        ),
        (
            {file: content for file, content in own_files().items() if file != FILES[2]},
            "lacks t10k-images-idx3-ubyte",
        ),
    ],
)
def test_files_of_another_form_are_refused(
    tmp_path: Path, files: download.Files, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(f"path:{write(tmp_path / 'own', files)}")
    assert "\n" not in str(caught.value)


# Where it comes from


@pytest.mark.skipif(not shutil.which("apt-get"), reason="Debian's tools are not on this machine")
def test_debian_archive_without_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        socket.create_connection(("deb.debian.org", 80), timeout=5).close()
    except OSError as error:
        pytest.skip(f"Debian's archive cannot be reached: {error}")
    monkeypatch.setattr(
        download, "SOURCES", {"Debian's archive": download.SOURCES["Debian's archive"]}
    )
    monkeypatch.delenv("HOME", raising=False)
    assert load("fashion-mnist", tmp_path / "new").digest == DIGEST
    assert sorted(path.name for path in (tmp_path / "new" / "fashion-mnist").iterdir()) == sorted(
        FILES
    )
    assert capfd.readouterr().out == ""
    monkeypatch.setattr(download, "SOURCES", {})
    assert load("fashion-mnist", tmp_path / "new").digest == DIGEST


def test_debian_folder(copy: Path) -> None:
    dataset = download.DATASETS["fashion-mnist"]
    assert set(download._from_debian_folder(dataset, copy)) == set(FILES)
    with pytest.raises(DataError, match="0 of the 4 files"):
        download._from_debian_folder(dataset, copy / "elsewhere")


def test_download_is_checked_by_md5(
    made_up: download.Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    torchvision = pytest.importorskip("torchvision.datasets")
    served = tmp_path / "served"
    served.mkdir()
    resources = []
    for file, content in made_up.items():
        packed = gzip.compress(content, compresslevel=1)
        (served / f"{file}.gz").write_bytes(packed)
        resources.append((f"{file}.gz", hashlib.md5(packed, usedforsecurity=False).hexdigest()))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            monkeypatch.setattr(
                torchvision.MNIST, "mirrors", [f"{address}/missing/", f"{address}/"]
            )
            monkeypatch.setattr(torchvision.MNIST, "resources", resources)
            monkeypatch.setattr(
                download, "SOURCES", {"download": download.SOURCES["torchvision's download"]}
            )
            assert load("mnist", tmp_path).train_labels.tolist() == list(made_up[FILES[1]][8:])
            (served / f"{FILES[3]}.gz").write_bytes(b"<html>Log in to this network first</html>")
            with pytest.raises(DataError, match=f"cannot be had .*{FILES[3]}.gz has the wrong MD5"):
                load("mnist", tmp_path / "other")
        finally:
            server.shutdown()
    assert capfd.readouterr().out == "" and not (tmp_path / "other").exists()


def test_silent_server_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "SOCKET_TIMEOUT", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(DataError, match="timed out"),
    ):
        download._download([f"http://127.0.0.1:{server.getsockname()[1]}/"], "file.gz", "")


def test_a_bad_source_is_passed_over(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = download.read_folder(folder / "fashion-mnist")
    bad = good | {FILES[1]: good[FILES[1]][:-1]}
    monkeypatch.setattr(
        download, "SOURCES", {"bad": lambda dataset: bad, "good": lambda dataset: good}
    )
    assert load("fashion-mnist", tmp_path).digest == DIGEST


# What can go wrong


def test_unknown_name_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'cifar10': choose one of fashion-mnist, mnist, kmnist"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda labels: labels[:-1], "10007 bytes unpacked where 10008 belong"),
        (lambda labels: b"", "no IDX file"),
        (lambda labels: b"\xff" + labels[1:], "no IDX file"),
        (lambda labels: labels[:-1] + bytes([(labels[-1] + 1) % 10]), "wrong content: SHA-256"),
    ],
    ids=["truncated", "empty", "header", "content"],
)
def test_damaged_file_is_named_and_left_alone(
    copy: Path, offline: None, damage: Callable[[bytes], bytes], message: str
) -> None:
    damaged = damage(read_labels(copy))
    for path in (copy / "fashion-mnist").glob(f"{FILES[3]}*"):
        path.unlink()
    (copy / "fashion-mnist" / FILES[3]).write_bytes(damaged)
    before = sorted((copy / "fashion-mnist").iterdir())
    with pytest.raises(
        DataError, match=f"t10k-labels-idx1-ubyte in .*{message}.*; delete the file"
    ) as caught:
        load("fashion-mnist", copy)
    assert "\n" not in str(caught.value)
    assert (copy / "fashion-mnist" / FILES[3]).read_bytes() == damaged
    assert sorted((copy / "fashion-mnist").iterdir()) == before


def test_truncated_gz_is_named(tmp_path: Path, made_up: download.Files, offline: None) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / f"{FILES[1]}.gz").write_bytes(gzip.compress(made_up[FILES[1]])[:-100])
    with pytest.raises(
        DataError, match=r"train-labels-idx1-ubyte.gz cannot be unpacked .*; delete the file"
    ):
        load("mnist", tmp_path)


def test_incomplete_folder_is_completed_and_nothing_overwritten(
    copy: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = download.read_folder(folder / "fashion-mnist")
    for path in (copy / "fashion-mnist").glob(f"{FILES[3]}*"):
        path.unlink()
    monkeypatch.setattr(download, "SOURCES", {"good": lambda dataset: good})
    assert load("fashion-mnist", copy).digest == DIGEST
    assert (copy / "fashion-mnist" / FILES[3]).read_bytes() == good[FILES[3]]
    assert sum(path.is_symlink() for path in (copy / "fashion-mnist").iterdir()) == 3


def test_nothing_reachable_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_internet(*arguments: object, **settings: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", no_internet)
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt
    no_package = partial(download._from_debian_folder, root=tmp_path / "no-package")
    monkeypatch.setitem(download.SOURCES, "Debian's package", no_package)
    with pytest.raises(DataError) as caught:
        load("fashion-mnist", tmp_path / "data")
    message = str(caught.value)
    assert "\n" not in message and str(tmp_path / "data" / "fashion-mnist") in message
    for remedy in ("connect to the internet", "apt-get install dataset-fashion-mnist", *FILES):
        assert remedy in message
    with pytest.raises(DataError) as caught:
        load("mnist", tmp_path / "data")
    assert "apt-get install" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_folder_that_cannot_be_written_is_no_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = download.read_folder(folder / "fashion-mnist")
    monkeypatch.setattr(download, "SOURCES", {"good": lambda dataset: good})
    (tmp_path / "file").write_text("a file where the folder should be")
    assert load("fashion-mnist", tmp_path / "file" / "data").digest == DIGEST
    assert "not kept" in caplog.text


def test_failed_write_leaves_nothing_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def disk_full(path: Path, content: bytes) -> int:
        with path.open("wb") as half:
            half.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    good = download.read_folder(folder / "fashion-mnist")
    monkeypatch.setattr(download, "SOURCES", {"good": lambda dataset: good})
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", disk_full)
        assert load("fashion-mnist", tmp_path).digest == DIGEST
    assert "No space left" in caplog.text and list((tmp_path / "fashion-mnist").iterdir()) == []
    assert load("fashion-mnist", tmp_path).digest == DIGEST


# The split


def test_split_has_equal_classes(parts: Split) -> None:
    assert torch.bincount(parts.train_y).tolist() == [5_000] * 10
    assert torch.bincount(parts.validation_y).tolist() == [1_000] * 10
    assert torch.bincount(parts.test_y).tolist() == [1_000] * 10


def test_split_tensors(parts: Split, images: Images) -> None:
    for x, y, n in (
        (parts.train_x, parts.train_y, 50_000),
        (parts.validation_x, parts.validation_y, 10_000),
        (parts.test_x, parts.test_y, 10_000),
    ):
        assert (
            x.shape == (n, 784)
            and x.dtype == torch.float32
            and y.shape == (n,)
            and y.dtype == torch.int64
        )
        assert x.min() == 0 and x.max() == 1
    assert np.array_equal((parts.test_x * 255).round().numpy().astype(np.uint8), images.test_images)
    assert np.array_equal(parts.test_y.numpy(), images.test_labels)


def numbered(counts: tuple[int, ...]) -> Images:
    """A small data set whose training image i is the number i in its first two bytes."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = np.arange(len(labels))
    pixels = np.zeros((len(labels), 784), np.uint8)
    pixels[:, 0], pixels[:, 1] = rows // 256, rows % 256
    return Images("numbered", pixels, labels, pixels[:10], labels[:10], "0" * 64)


def numbers(x: torch.Tensor) -> list[int]:
    high_low = (x[:, :2] * 255).round().long()
    return (high_low[:, 0] * 256 + high_low[:, 1]).tolist()


def test_split_is_disjoint_covers_all_and_keeps_images_with_their_labels() -> None:
    images = numbered((300, 200, 500))
    parts = split(images, 100)
    train, validation = numbers(parts.train_x), numbers(parts.validation_x)
    assert sorted(train + validation) == list(range(1_000))
    assert images.train_labels[train].tolist() == parts.train_y.tolist()
    assert images.train_labels[validation].tolist() == parts.validation_y.tolist()
    assert torch.bincount(parts.validation_y).tolist() == [30, 20, 50]
    assert validation != list(range(100)) and validation == sorted(validation)


@pytest.mark.parametrize(("n", "shares"), [(10, [3, 5, 2]), (7, [2, 4, 1]), (1, [0, 1, 0])])
def test_uneven_classes_are_shared_in_proportion(n: int, shares: list[int]) -> None:
    parts = split(numbered((30, 50, 20)), n)
    assert torch.bincount(parts.validation_y, minlength=3).tolist() == shares


def test_digest_is_stable_and_tells_splits_apart(parts: Split, images: Images) -> None:
    assert parts.digest == split(images).digest == SPLIT_DIGEST
    assert split(images, 5_000).digest != SPLIT_DIGEST
    assert parts.to("cpu", torch.bfloat16).digest == SPLIT_DIGEST


def test_subset_is_stratified_nested_and_has_its_own_digest(parts: Split) -> None:
    small, smaller = parts.subset(1_000), parts.subset(500)
    assert torch.bincount(small.train_y).tolist() == [100] * 10 and small.train_x.shape == (
        1_000,
        784,
    )
    first = [(parts.train_y == label).nonzero()[0, 0] for label in range(10)]
    assert torch.equal(parts.subset(10).train_x, parts.train_x[torch.stack(first).sort().values])
    assert {row.tobytes() for row in smaller.train_x.numpy()} <= {
        row.tobytes() for row in small.train_x.numpy()
    }
    assert len({parts.digest, small.digest, smaller.digest}) == 3
    assert small.digest == parts.subset(1_000).digest
    assert parts.subset(50_000) is parts
    assert torch.equal(small.validation_x, parts.validation_x)


def test_to_casts_pixels_only(parts: Split) -> None:
    moved = parts.subset(20).to("cpu", torch.float64)
    assert moved.train_x.dtype == moved.validation_x.dtype == moved.test_x.dtype == torch.float64
    assert moved.train_y.dtype == moved.validation_y.dtype == moved.test_y.dtype == torch.int64


def test_sizes_out_of_range_are_refused(parts: Split) -> None:
    images = numbered((5, 5))
    for validation in (0, -1, 10):
        with pytest.raises(ValueError, match="validation takes 1 to 9"):
            split(images, validation)
    for n in (0, -1, 50_001):
        with pytest.raises(ValueError, match="a subset takes 1 to 50000"):
            parts.subset(n)


def test_imports_no_tracking_and_no_search() -> None:
    code = "import sys, models.data; sys.exit(bool({'mlflow', 'optuna', 'torchvision'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
    )
