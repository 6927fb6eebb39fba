"""Data sets that are held in memory, as rows of `DATASETS`."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .augment import ArrayTestBatches, TrainingBatches
from .errors import DataError
from .hold_out import fixed_subset, hold_out
from .labelled_images import LabelledImages
from .prepared import Arrays, read_prepared
from .sharding import Shard

_CIFAR10_NAMES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


@dataclass(frozen=True, eq=False)
class Dataset(LabelledImages):
    """Labelled images in memory, for training and testing.

    Attributes:
        name: a key of `DATASETS`.
        x_train, x_test: uint8 (N, H, W, C), raw values from 0 to 255, RGB or one grey channel.
        y_train, y_test: int32 (N,), indices into `class_names`.
        class_names: one name per class.
    """

    in_memory: ClassVar[bool] = True
    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]

    def image_shape(self, size: int | None = None) -> tuple[int, int, int]:
        """Returns the shape (H, W, C) of every image.

        Args:
            size: None or the height and width of the images, since images in memory are not resized.

        Raises:
            DataError: the images have another size.
        """
        shape = self.x_train.shape[1:]
        if size is not None and (size, size) != shape[:2]:
            raise DataError(f"`size` of {self.name} must be {shape[0]}, the size of all its images. Received: {size}")
        return shape

    @property
    def train_count(self) -> int:
        return len(self.x_train)

    @property
    def test_count(self) -> int:
        return len(self.x_test)

    @property
    def mean_image(self) -> np.ndarray:
        """The per-pixel mean of the training images, float64 (H, W, C), as subtracted in the papers."""
        return self.x_train.mean(axis=0)

    @property
    def mean_color(self) -> np.ndarray:
        """The mean colour of the training images, uint8 (C,), with which augmentation fills borders."""
        return np.rint(self.mean_image.mean(axis=(0, 1))).astype(np.uint8)

    def _mean_image(self, size: int | None) -> np.ndarray:
        self.image_shape(size)
        return self.mean_image

    def defaults(self, size: int | None = None, test_size: int | None = None) -> dict[str, Any]:
        """Returns the default training options for this data set: the mean and the augmentation.

        Raises:
            DataError: `size` or `test_size` is not the size of the images.
        """
        self.image_shape(size)
        self.image_shape(test_size)
        row = DATASETS[self.name]
        return {"mean": "pixel", "pad": row.pad, "flip": row.flip, "cutout": 0}

    def training_batches(  # type: ignore[override]  # `augmentation` by name
        self,
        *,
        batch_size: int,
        seed: int,
        shard: Shard = (0, 1),
        workers: int = 0,
        pad: int,
        flip: bool,
        fill: ArrayLike | None = None,
        cutout: int = 0,
    ) -> TrainingBatches:
        """Returns the batches for training; the other arguments are as for `TrainingBatches`.

        Borders are filled with the mean colour by default. `workers` is ignored: batches of images in memory are made
        on demand.
        """
        fill = self.mean_color if fill is None else fill
        return TrainingBatches(
            images=self.x_train,
            labels=self.y_train,
            batch_size=batch_size,
            seed=seed,
            shard=shard,
            pad=pad,
            flip=flip,
            fill=fill,
            cutout=cutout,
        )

    def test_batches(
        self,
        *,
        batch_size: int,
        shard: Shard = (0, 1),
        size: int | None = None,
        resize: int | None = None,
        split: str = "test",
    ) -> ArrayTestBatches:
        self.image_shape(size)
        self.image_shape(resize)
        images, labels = (self.x_train, self.y_train) if split == "train" else (self.x_test, self.y_test)
        return ArrayTestBatches(images=images, labels=labels, batch_size=batch_size, shard=shard)

    def take(self, count: int) -> Dataset:
        subset = fixed_subset(count, self.train_count, self.name)
        return replace(self, x_train=self.x_train[subset], y_train=self.y_train[subset])

    def hold_out(self, count: int, seed: int) -> Dataset:
        held_out, remaining = hold_out(count, self.train_count, seed, self.name)
        return replace(
            self,
            x_train=self.x_train[remaining],
            y_train=self.y_train[remaining],
            x_test=self.x_train[held_out],
            y_test=self.y_train[held_out],
        )


@dataclass(frozen=True)
class DatasetRow:
    """Properties of a data set that are known before it is read.

    Attributes:
        class_names: one name per class, in the order of the labels.
        read: function from `data_dir` to the arrays x_train, y_train, x_test, y_test.
        side: the height and width of the images in pixels.
        pad, flip: the default augmentation, as for `pad_crop_flip`.
        embedded: whether a Python package ships the data; otherwise tensorflow-datasets has it under the row's key.
    """

    class_names: tuple[str, ...]
    read: Callable[[str | os.PathLike[str] | None], Arrays]
    side: int
    pad: int
    flip: bool
    embedded: bool = False


def _read_digits(_data_dir: str | os.PathLike[str] | None) -> Arrays:
    """Returns the 1,797 digits that scikit-learn embeds, with 360 of them as the test set.

    The digits are sorted by class and every fifth is a test image. This split is stratified and, since nothing is drawn
    at random, independent of seeds, of global generators and of library versions.
    """
    # The file that scikit-learn's `load_digits` reads, without the import, which would take most of the time.
    file = importlib.metadata.distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(file), delimiter=",")
    images = np.rint(table[:, :-1].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int32)
    test = np.zeros(len(labels), bool)
    test[np.argsort(labels, kind="stable")[::5]] = True
    return images[~test], labels[~test], images[test], labels[test]


DATASETS: dict[str, DatasetRow] = {
    "digits": DatasetRow(
        tuple("0123456789"),
        _read_digits,
        side=8,
        pad=1,
        flip=False,  # a mirrored digit is a different symbol
        embedded=True,
    ),
    "cifar10": DatasetRow(
        tuple(_CIFAR10_NAMES.split()),
        partial(read_prepared, "cifar10"),
        side=32,
        pad=4,
        flip=True,
    ),
    "cifar100": DatasetRow(
        tuple(_CIFAR100_NAMES.split()),
        partial(read_prepared, "cifar100"),
        side=32,
        pad=4,
        flip=True,
    ),
}
