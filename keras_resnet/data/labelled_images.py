"""What every data set is to those who use it: `LabelledImages`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .errors import DataError
from .sharding import Shard

if TYPE_CHECKING:
    from .augment import ArrayTestBatches, TrainingBatches
    from .multi_view import Cut, MultiViewBatches
    from .stream_batches import StreamTestBatches, StreamTrainingBatches

MEANS = ("pixel", "channel")  # kinds of mean


class LabelledImages(ABC):
    """Labelled images to train on and to test on: `Dataset` in memory, `ImageStream` on disk.

    Attributes:
        name: the name that the set was loaded by.
        class_names: one name a class.
        in_memory: whether the images lie in memory, all of one size, and are seen as they are; otherwise they are
            photographs of any size, which are cut to a size that is chosen.
    """

    in_memory: ClassVar[bool]
    name: str
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    @abstractmethod
    def train_count(self) -> int:
        """The number of training images."""

    @property
    @abstractmethod
    def test_count(self) -> int:
        """The number of test images."""

    @abstractmethod
    def image_shape(self, size: int | None = None) -> tuple[int, int, int]:
        """(H, W, C) of every image; `size` is its side in pixels, by default the set's own.

        Raises:
            DataError: images in memory have another size.
        """

    def mean(self, kind: str, size: int | None = None) -> np.ndarray:
        """The mean of the training images, float64: (H, W, C) by "pixel", or (C,) by "channel".

        Args:
            kind: one of `MEANS`.
            size: as `image_shape` takes it.

        Raises:
            DataError: another kind, images in memory of another size, or photographs of which none is whole.
        """
        if kind not in MEANS:
            raise DataError(f"`kind` must be one of {', '.join(MEANS)}. Received: {kind!r}")
        image = self._mean_image(size)
        return image if kind == "pixel" else image.mean(axis=(0, 1))

    @abstractmethod
    def _mean_image(self, size: int | None) -> np.ndarray:
        """The mean by pixel."""

    @abstractmethod
    def take(self, count: int) -> LabelledImages:
        """The same with a random `count` of the training images, always the same ones.

        Raises:
            DataError: `count` is out of range.
        """

    @abstractmethod
    def hold_out(self, count: int, seed: int) -> LabelledImages:
        """Moves a random `count` of the training images to the test side, in place of the test images.

        This is the split to choose by (He et al. 2015, section 4.2: 45k/5k of CIFAR-10's 50k training images); the
        official test images are then neither trained nor tested on.

        Args:
            count: how many images to hold out; at least 1 and fewer than there are training images.
            seed: the same seed holds out the same images.

        Raises:
            DataError: `count` is out of range.
        """

    @abstractmethod
    def defaults(self, size: int | None = None, test_size: int | None = None) -> dict[str, Any]:
        """What training does where nothing else is said: the mean, the views and their augmentation.

        Args:
            size, test_size: of training and test images in pixels, where they are chosen already.

        Raises:
            DataError: images in memory have another size.
        """

    @abstractmethod
    def training_batches(
        self, *, batch_size: int, seed: int, shard: Shard = (0, 1), workers: int = 0, **augmentation: Any
    ) -> TrainingBatches | StreamTrainingBatches:
        """Batches for training.

        Args:
            batch_size, seed, shard: as `TrainingBatches` takes them.
            workers: processes that make batches of photographs ahead; batches of images in memory are made at once.
            **augmentation: as `TrainingBatches`, or `StreamTrainingBatches`, takes it.
        """

    @abstractmethod
    def test_batches(
        self,
        *,
        batch_size: int,
        shard: Shard = (0, 1),
        size: int | None = None,
        resize: int | None = None,
        split: str = "test",
    ) -> ArrayTestBatches | StreamTestBatches:
        """Batches that have every test image once; or with the split "train" every training image.

        Args:
            batch_size, shard: as `ArrayTestBatches` takes them.
            size, resize: of photographs, as `StreamTestBatches` takes them.
            split: "test" or "train".

        Raises:
            DataError: images in memory have another size.
        """

    def multi_view(self, cut: Cut, *, split: str = "test", **options: Any) -> MultiViewBatches:
        """Every test image once, or with the split "train" every training image, as the several views of `cut`.

        Raises:
            DataError: the images lie in memory.
        """
        raise DataError(f"The images of {self.name} are seen as they are; crops and scales are for photographs.")
