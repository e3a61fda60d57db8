"""Fashion-MNIST, or another data set of the same form: found, checked, kept, and split.

`load` tries the data folder, then `models.download`, and checks what it gets; `split` makes the
tensors.
"""

from __future__ import annotations

import hashlib
import logging
import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from models.download import (
    DATASETS,
    FILES,
    IN_FOLDER,
    DataError,
    Files,
    check,
    fetch,
    read_folder,
    read_own,
)

logger = logging.getLogger(__name__)

SPLIT_SEED = 20140601  # the month of Srivastava et al., "Dropout", JMLR 15


@dataclass(frozen=True, eq=False)
class Images:
    """A data set as it was published. Images (n, 784) uint8, 0 to 255; labels (n,) int64, 0 to 9.

    `digest` is the SHA-256 (64 hex digits) of the unpacked content of FILES, one after the other.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    digest: str


@dataclass(frozen=True, eq=False)
class Split:
    """What training sees. Pixels x (n, 784) float32 in [0, 1], labels y (n,) int64; rows in the
    order of the files.

    `digest` (16 hex digits) stands for the data set's content and for which rows went where,
    `content` for the former.
    """

    name: str
    train_x: torch.Tensor
    train_y: torch.Tensor
    validation_x: torch.Tensor
    validation_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    digest: str
    content: str

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Split:
        """Move the split; `dtype` is for the pixels only, and the digest stays as it is."""
        return replace(
            self,
            train_x=self.train_x.to(device, dtype),
            train_y=self.train_y.to(device),
            validation_x=self.validation_x.to(device, dtype),
            validation_y=self.validation_y.to(device),
            test_x=self.test_x.to(device, dtype),
            test_y=self.test_y.to(device),
        )

    def rounded(self, dtype: torch.dtype) -> Split:
        """The split with its training images in `dtype`, in which the products of training are then
        taken.

        The other images stay as they are: scores are those of the float32 weights. The digest stays
        too.
        """
        return replace(self, train_x=self.train_x.to(dtype))

    def without_test(self) -> Split:
        """The split without its test images: who holds it cannot read them."""
        return replace(self, test_x=self.test_x[:0], test_y=self.test_y[:0])

    def subset(self, n: int) -> Split:
        """Return the split with `n` training examples: each class's first ones in file order.

        The digest changes unless `n` is the whole training set. ValueError unless 1 <= n <=
        training examples.
        """
        available = len(self.train_y)
        if not 1 <= n <= available:
            raise ValueError(f"a subset takes 1 to {available} training examples, not {n}")
        if n == available:
            return self
        rows = _stratified(self.train_y.cpu().numpy(), n, np.arange(available))
        index, digest = torch.from_numpy(rows).to(self.train_y.device), _digest(self.digest, rows)
        return replace(
            self, train_x=self.train_x[index], train_y=self.train_y[index], digest=digest
        )


def load(name: str = "fashion-mnist", folder: str | Path = "data") -> Images:
    """Read a data set from `folder`/`name`, or from the first source that has it; keep it there.

    A name "path:some/folder" means the files in that folder, which need not be in `folder`; the
    data set is called by the folder's own name then, so that its studies are the same wherever it
    lies.

    Arrays: train (60000, 784) and test (10000, 784) uint8, labels int64; of a "path:" as many as it
    has. Errors: DataError, when the name is unknown, a file in the folder is damaged (it is left
    alone), or no source can be reached. A folder that cannot be written is no error. Source: Xiao
    et al. 2017, arXiv:1708.07747; the file format is LeCun's IDX.
    """
    if name.startswith(IN_FOLDER):
        place = Path(name.removeprefix(IN_FOLDER))
        return _images(f"{IN_FOLDER}{place.resolve().name}", read_own(place))
    if name not in DATASETS:
        raise DataError(
            f"unknown data set {name!r}: choose one of {', '.join(DATASETS)}, or {IN_FOLDER}FOLDER"
        )
    cache = Path(folder) / name
    source = str(cache)
    files = kept(name, cache)
    if len(files) < len(FILES):
        present = set(files)
        source, files = fetch(name, cache)
        _keep(cache, {file: content for file, content in files.items() if file not in present})
    logger.info("data set %s read from %s", name, source)
    return _images(name, files)


def kept(name: str, cache: Path) -> Files:
    """Return those files of a data set that are in its folder, or in torchvision's beside it.

    Raises:
        DataError: one of them is damaged.
    """
    try:
        files = read_folder(cache, cache.parent / DATASETS[name].torchvision / "raw")
        check(DATASETS[name], files, str(cache))
    except DataError as error:
        raise DataError(
            f"{error}; delete the file to have it fetched again, or put a good copy in its place"
        ) from None
    return files


def validation_size(train: int) -> int:
    """Return how many of `train` images validate: 10,000, or a sixth where that is fewer."""
    return min(10_000, train // 6)


def _images(name: str, files: Files) -> Images:
    arrays = [
        np.frombuffer(files[file], np.uint8, offset=16 if "idx3" in file else 8) for file in FILES
    ]
    return Images(
        name=name,
        train_images=arrays[0].reshape(-1, 784),
        train_labels=arrays[1].astype(np.int64),
        test_images=arrays[2].reshape(-1, 784),
        test_labels=arrays[3].astype(np.int64),
        digest=hashlib.sha256(b"".join(files[file] for file in FILES)).hexdigest(),
    )


def split(images: Images, validation: int = 10_000) -> Split:
    """Set `validation` training examples apart, always the same, each class in proportion.

    Fashion-MNIST: train (50000, 784), validation (10000, 784) with 1,000 of each class, test
    (10000, 784). Pixels are divided by 255 to float32 in [0, 1]. Errors: ValueError unless 1 <=
    validation < training examples.
    """
    n = len(images.train_labels)
    if not 1 <= validation < n:
        raise ValueError(
            f"validation takes 1 to {n - 1} of the {n} training examples, not {validation}"
        )
    # NumPy promises the raw stream of PCG64 for ever, but not what Generator.permutation makes of
    # it.
    held_out = _stratified(
        images.train_labels, validation, np.random.PCG64(SPLIT_SEED).random_raw(n)
    )
    kept = np.setdiff1d(np.arange(n), held_out)
    return Split(
        name=images.name,
        train_x=_pixels(images.train_images[kept]),
        train_y=torch.from_numpy(images.train_labels[kept]),
        validation_x=_pixels(images.train_images[held_out]),
        validation_y=torch.from_numpy(images.train_labels[held_out]),
        test_x=_pixels(images.test_images),
        test_y=torch.from_numpy(images.test_labels.copy()),
        digest=_digest(images.digest, kept, held_out),
        content=images.digest[:16],
    )


def _pixels(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.astype(np.float32)).div_(255)


def _stratified(labels: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """Return `n` rows, ascending: each class's share (by largest remainder), of lowest keys."""
    counts = np.bincount(labels)
    quotas, remainders = np.divmod(n * counts, len(labels))
    quotas[np.argsort(-remainders, kind="stable")[: n - quotas.sum()]] += 1
    by_class = np.split(np.lexsort((keys, labels)), np.cumsum(counts)[:-1])
    return np.sort(
        np.concatenate([rows[:quota] for rows, quota in zip(by_class, quotas, strict=True)])
    )


def _digest(content: str, *rows: np.ndarray) -> str:
    parts = [
        content,
        *(hashlib.sha256(index.astype("<i8").tobytes()).hexdigest() for index in rows),
    ]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _keep(folder: Path, files: Files) -> None:
    """Write each file whole or not at all; where nothing can be written, say so and go on."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            temporary = folder / f".{file}.{uuid.uuid4().hex}"
            try:
                temporary.write_bytes(content)
                os.replace(temporary, folder / file)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("the data is not kept for the next start: %s", error)
