"""Data sets of photographs that do not fit memory."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .hold_out import hold_out, taken
from .labelled_images import LabelledImages
from .multi_view import Cut, MultiViewBatches
from .prepared_source import PreparedSource
from .records import Source, open_folder
from .sharding import Shard
from .stream_batches import Side, StreamTestBatches, StreamTrainingBatches
from .views import SIZE, default_sizes

FOLDER = "folder:"
MEAN_OF = 1000  # training images that are looked at for the mean


@dataclass(frozen=True, eq=False)
class ImageStream(LabelledImages):
    """Labelled photographs of any size on disk, to train on and to test on.

    Attributes:
        name: the name it was loaded by.
        class_names: one name a class.
        train, test: the images of either side.
    """

    in_memory: ClassVar[bool] = False
    name: str
    class_names: tuple[str, ...]
    train: Side
    test: Side
    _means: dict[int, np.ndarray] = field(init=False, repr=False, default_factory=dict)

    @property
    def train_count(self) -> int:
        """The number of training images."""
        return len(self.train)

    @property
    def test_count(self) -> int:
        """The number of test images."""
        return len(self.test)

    def image_shape(self, size: int | None = None) -> tuple[int, int, int]:
        """(H, W, C) of every view: a square of `size`, by default 224 as in the papers, in RGB."""
        size = SIZE if size is None else size
        return size, size, 3

    def _mean_image(self, size: int | None) -> np.ndarray:
        """The mean of up to 1,000 training images, evenly spread over them and seen as test views: centre squares.

        The same set, side and size give the same mean.
        """
        size = SIZE if size is None else size
        if size not in self._means:
            self._means[size] = _mean(self.train, size)
        return self._means[size]

    def take(self, count: int) -> ImageStream:
        """The same with a random `count` of the training images, always the same ones.

        Raises:
            DataError: `count` is out of range.
        """
        numbers = self.train.numbers[taken(count, self.train_count, self.name)]
        return replace(self, train=replace(self.train, numbers=numbers))

    def hold_out(self, count: int, seed: int) -> ImageStream:
        """Moves a random `count` of the training images to the test side, see `LabelledImages`.

        Raises:
            DataError: `count` is out of range.
        """
        held, kept = (self.train.numbers[part] for part in hold_out(count, self.train_count, seed, self.name))
        return replace(
            self, train=replace(self.train, numbers=kept), test=Side(self.train.source, held, f"{self.name}, held out")
        )

    def defaults(self, size: int | None = None, test_size: int | None = None) -> dict[str, Any]:
        """What training does where nothing else is said: the mean, the views and their augmentation.

        Args:
            size, test_size: of the views in pixels, where they are chosen already.
        """
        size = size or SIZE
        photographs = {"mean": "channel", "size": size, "crop": "scale", "color": "none", "flip": True}
        return {**photographs, **default_sizes(size, test_size)}

    def training_batches(
        self, *, batch_size: int, seed: int, shard: Shard = (0, 1), workers: int = 0, **augmentation: Any
    ) -> StreamTrainingBatches:
        """Batches for training; the arguments are those of `StreamTrainingBatches`."""
        made = {"batch_size": batch_size, "seed": seed, "shard": shard, "workers": workers}
        return StreamTrainingBatches(side=self.train, **made, **augmentation)

    def test_batches(
        self, *, batch_size: int, shard: Shard = (0, 1), size: int | None = None, split: str = "test", **options: Any
    ) -> StreamTestBatches:
        """Batches that have every test image once, or with the split "train" every training image.

        The other arguments are those of `StreamTestBatches`.
        """
        size = SIZE if size is None else size
        side = self.train if split == "train" else self.test
        return StreamTestBatches(side=side, batch_size=batch_size, shard=shard, size=size, **options)

    def multi_view(self, cut: Cut, *, split: str = "test", **options: Any) -> MultiViewBatches:
        """Every test image once, or with the split "train" every training image, as the several views of `cut`.

        The other arguments are those of `MultiViewBatches`.
        """
        return MultiViewBatches(side=self.train if split == "train" else self.test, cut=cut, **options)


def _mean(side: Side, size: int, batch_size: int = 50) -> np.ndarray:
    from tqdm import tqdm

    places = np.linspace(0, len(side) - 1, min(MEAN_OF, len(side))).round().astype(int)
    looked_at = replace(side, numbers=side.numbers[places])
    total, weight = np.zeros((size, size, 3)), 0.0
    # disable=None: silent where stderr is not a terminal.
    bar = tqdm(desc=f"Mean of {side.where}", total=len(looked_at), delay=1, leave=False, disable=None)
    with bar:
        # As many may be bad as are: too many among these few need not be too many of all.
        for images, _, weights in StreamTestBatches(side=looked_at, batch_size=batch_size, size=size, bad_share=1.0):
            total += images.sum(axis=0, dtype=np.int64)  # an image of weight 0 is black
            weight += weights.sum()
            bar.update(min(batch_size, len(looked_at) - bar.n))
    return total / weight


def whole_path(name: str) -> str | None:
    """The absolute path of a folder of photographs, from a name "folder:PATH"; None for the name of any other set."""
    if not name.startswith(FOLDER):
        return None
    return str(Path(name.removeprefix(FOLDER)).expanduser().resolve())


def load_stream(name: str, data_dir: str | os.PathLike[str] | None) -> ImageStream:
    """Opens a folder of photographs, or a set prepared by tensorflow-datasets.

    Raises:
        DataError: as `open_folder` and `open_prepared`.
    """
    sources: tuple[Source, Source]
    if name.startswith(FOLDER):
        sources = open_folder(name.removeprefix(FOLDER))
    else:
        sources = PreparedSource(name, data_dir, test=False), PreparedSource(name, data_dir, test=True)
        for source in sources:
            source.read([0])  # or a split without labels would be found out behind the first epoch
    train, test = (
        Side(source, np.arange(len(source)), f"{name}, {what}")
        for source, what in zip(sources, ("train", "test"), strict=True)
    )
    return ImageStream(name, sources[0].class_names, train, test)
