"""The interface that all data sets implement: `LabelledImages`."""

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

MEANS = ("pixel", "channel")  # the kinds of mean that can be subtracted


class LabelledImages(ABC):
    """Labelled images for training and testing: `Dataset` in memory, `ImageStream` on disk.

    Attributes:
        name: the name by which the set was loaded.
        class_names: one name per class.
        in_memory: whether the images are held in memory, have one common size and are used unresized. Otherwise they
            are photographs of any size, which are resized and cropped to a chosen size.
        fingerprint: identifies the images of a folder of photographs by their names, wherever the folder lies; None
            for other sets, which are identified by their own name.
    """

    in_memory: ClassVar[bool]
    fingerprint: str | None = None
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
        """Returns the shape (H, W, C) of every image; `size` is its side in pixels, by default the set's own.

        Raises:
            DataError: the images are in memory and have another size.
        """

    def mean(self, kind: str, size: int | None = None) -> np.ndarray:
        """Returns the mean of the training images, float64: (H, W, C) per "pixel", or (C,) per "channel".

        Args:
            kind: one of `MEANS`.
            size: as for `image_shape`.

        Raises:
            DataError: `kind` is unknown, images in memory have another size, or no photograph can be decoded.
        """
        if kind not in MEANS:
            raise DataError(f"`kind` must be one of {', '.join(MEANS)}. Received: {kind!r}")
        image = self._mean_image(size)
        return image if kind == "pixel" else image.mean(axis=(0, 1))

    @abstractmethod
    def _mean_image(self, size: int | None) -> np.ndarray:
        """Returns the mean per pixel."""

    @abstractmethod
    def take(self, count: int) -> LabelledImages:
        """Returns the same data set with a random but fixed subset of `count` training images.

        Raises:
            DataError: `count` is out of range.
        """

    @abstractmethod
    def hold_out(self, count: int, seed: int) -> LabelledImages:
        """Returns the data set with `count` randomly drawn training images as its test images.

        This is the split for model selection (He et al. 2015, section 4.2: 45k/5k of CIFAR-10's 50k training images);
        the official test images are then used neither for training nor for testing.

        Args:
            count: the number of images to hold out; at least 1 and fewer than there are training images.
            seed: determines which images are held out.

        Raises:
            DataError: `count` is out of range.
        """

    @abstractmethod
    def defaults(self, size: int | None = None, test_size: int | None = None) -> dict[str, Any]:
        """Returns the default training options for this data set: the mean, the views and their augmentation.

        Args:
            size, test_size: the size of training and of test images in pixels, if already chosen.

        Raises:
            DataError: the images are in memory and have another size.
        """

    @abstractmethod
    def training_batches(
        self, *, batch_size: int, seed: int, shard: Shard = (0, 1), workers: int = 0, **augmentation: Any
    ) -> TrainingBatches | StreamTrainingBatches:
        """Returns the batches for training.

        Args:
            batch_size, seed, shard: as for `TrainingBatches`.
            workers: the number of processes that prepare batches of photographs ahead of time; ignored for images in
                memory, whose batches are made on demand.
            **augmentation: as for `TrainingBatches` or `StreamTrainingBatches`.
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
        """Returns batches that contain every test image once, or every training image if `split` is "train".

        Args:
            batch_size, shard: as for `ArrayTestBatches`.
            size, resize: as for `StreamTestBatches`; images in memory accept only their own size.
            split: "test" or "train".

        Raises:
            DataError: the images are in memory and have another size.
        """

    def multi_view(self, cut: Cut, *, split: str = "test", **options: Any) -> MultiViewBatches:
        """Returns every test image once, or every training image if `split` is "train", as the views made by `cut`.

        Raises:
            DataError: the images are in memory.
        """
        raise DataError(f"The images of {self.name} have a fixed size; crops and scales apply to photographs only.")
