"""Data sets that are held in memory, as rows: `DATASETS`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from .augment import ArrayTestBatches, TrainingBatches
from .errors import DataError
from .hold_out import hold_out, taken
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
    """Labelled images in memory, to train on and to test on.

    Attributes:
        name: a key of `DATASETS`.
        x_train, x_test: uint8 (N, H, W, C), raw values 0 to 255, RGB or one grey channel.
        y_train, y_test: int32 (N,), indices into `class_names`.
        class_names: one name a class.
    """

    in_memory: ClassVar[bool] = True
    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]

    def image_shape(self, size: int | None = None) -> tuple[int, int, int]:
        """(H, W, C) of every image.

        Args:
            size: None, or their height and width: images in memory are taken as they are.

        Raises:
            DataError: they have another size.
        """
        shape = self.x_train.shape[1:]
        if size is not None and (size, size) != shape[:2]:
            raise DataError(f"`size` of {self.name} must be {shape[0]}, which all of its images have. Received: {size}")
        return shape

    @property
    def train_count(self) -> int:
        """The number of training images."""
        return len(self.x_train)

    @property
    def test_count(self) -> int:
        """The number of test images."""
        return len(self.x_test)

    @property
    def mean_image(self) -> np.ndarray:
        """The per-pixel mean of the training images, float64 (H, W, C), which the papers subtract."""
        return self.x_train.mean(axis=0)

    @property
    def mean_color(self) -> np.ndarray:
        """The mean colour of the training images, uint8 (C,), which augmentation fills borders with."""
        return np.rint(self.mean_image.mean(axis=(0, 1))).astype(np.uint8)

    def _mean_image(self, size: int | None) -> np.ndarray:
        self.image_shape(size)
        return self.mean_image

    def defaults(self, size: int | None = None, test_size: int | None = None) -> dict[str, Any]:
        """What training does where nothing else is said: the mean, and the set's augmentation.

        Raises:
            DataError: the images have another size than these.
        """
        self.image_shape(size)
        self.image_shape(test_size)
        row = DATASETS[self.name]
        return {"mean": "pixel", "pad": row.pad, "flip": row.flip, "cutout": 0}

    def training_batches(
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
        """Batches for training, as `TrainingBatches` has them; the border is filled with the mean colour.

        `workers` change nothing: batches of images in memory are made at once.
        """
        fill = self.mean_color if fill is None else fill
        augmentation = {"pad": pad, "flip": flip, "fill": fill, "cutout": cutout}
        return TrainingBatches(
            images=self.x_train, labels=self.y_train, batch_size=batch_size, seed=seed, shard=shard, **augmentation
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
        """Batches that have every test image once, as it is; or with the split "train" every training image.

        Raises:
            DataError: the images have another size than these.
        """
        self.image_shape(size)
        self.image_shape(resize)
        images, labels = (self.x_train, self.y_train) if split == "train" else (self.x_test, self.y_test)
        return ArrayTestBatches(images=images, labels=labels, batch_size=batch_size, shard=shard)

    def take(self, count: int) -> Dataset:
        """The same with a random `count` of the training images, always the same ones.

        Raises:
            DataError: `count` is out of range.
        """
        kept = taken(count, self.train_count, self.name)
        return replace(self, x_train=self.x_train[kept], y_train=self.y_train[kept])

    def hold_out(self, count: int, seed: int) -> Dataset:
        """Moves a random `count` of the training images to the test side, see `LabelledImages`.

        Raises:
            DataError: `count` is out of range.
        """
        held, kept = hold_out(count, self.train_count, seed, self.name)
        return replace(
            self,
            x_train=self.x_train[kept],
            y_train=self.y_train[kept],
            x_test=self.x_train[held],
            y_test=self.y_train[held],
        )


@dataclass(frozen=True)
class DatasetRow:
    """What is known of a data set before it is read.

    Attributes:
        description: what it is, in a line.
        class_names: one name a class, in the order of the labels.
        read: from `data_dir` to the arrays x_train, y_train, x_test, y_test.
        side: rows and columns of an image.
        pad, flip: the default augmentation, as `pad_crop_flip` takes it.
        embedded: whether it comes with a library; otherwise it is a set of tensorflow-datasets, of the row's name.
    """

    description: str
    class_names: tuple[str, ...]
    read: Callable[[str | os.PathLike[str] | None], Arrays]
    side: int
    pad: int
    flip: bool
    embedded: bool = False


def _read_digits(_data_dir: str | os.PathLike[str] | None) -> Arrays:
    """The 1,797 digits that scikit-learn embeds, 360 of them as the test set.

    The digits are sorted by class and every fifth is a test image: a split that is even over the classes,
    and that no seed, global generator or version can move, since nothing is drawn.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = digits.target.astype(np.int32)
    test = np.zeros(len(labels), bool)
    test[np.argsort(labels, kind="stable")[::5]] = True
    return images[~test], labels[~test], images[test], labels[test]


DATASETS: dict[str, DatasetRow] = {
    "digits": DatasetRow(
        "1,797 handwritten digits, 8x8 grey, embedded in scikit-learn; every fifth is a test image",
        tuple("0123456789"),
        _read_digits,
        side=8,
        pad=1,
        flip=False,  # a mirrored digit is another sign
        embedded=True,
    ),
    "cifar10": DatasetRow(
        "CIFAR-10: 60,000 photographs, 32x32 RGB, 10 classes, the official 10,000 as test images",
        tuple(_CIFAR10_NAMES.split()),
        partial(read_prepared, "cifar10"),
        side=32,
        pad=4,
        flip=True,
    ),
    "cifar100": DatasetRow(
        "CIFAR-100: 60,000 photographs, 32x32 RGB, 100 fine classes, the official 10,000 as test images",
        tuple(_CIFAR100_NAMES.split()),
        partial(read_prepared, "cifar100"),
        side=32,
        pad=4,
        flip=True,
    ),
}
