"""Data sets of photographs that do not fit into memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .hold_out import evenly_spaced, fixed_subset, hold_out
from .labelled_images import LabelledImages
from .multi_view import Cut, MultiViewBatches
from .prepared_source import PreparedSource
from .records import Source, open_folder
from .sharding import Shard
from .stream_batches import Split, StreamTestBatches, StreamTrainingBatches
from .views import SIZE, default_sizes

FOLDER = "folder:"
MEAN_OF = 1000  # the number of training images from which the mean is estimated


@dataclass(frozen=True, eq=False)
class ImageStream(LabelledImages):
    """Labelled photographs of any size on disk, for training and testing.

    Attributes:
        name: the name by which the set was loaded.
        class_names: one name per class.
        train, test: the training and the test images.
        fingerprint: as for `LabelledImages`.
    """

    in_memory: ClassVar[bool] = False
    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    fingerprint: str | None = None
    _means: dict[int, np.ndarray] = field(init=False, repr=False, default_factory=dict)

    @property
    def train_count(self) -> int:
        return len(self.train)

    @property
    def test_count(self) -> int:
        return len(self.test)

    def image_shape(self, size: int | None = None) -> tuple[int, int, int]:
        """Returns the shape (H, W, C) of every view: an RGB square of side `size`, by default 224 as in the papers."""
        size = SIZE if size is None else size
        return size, size, 3

    def _mean_image(self, size: int | None) -> np.ndarray:
        """Returns the mean of up to 1,000 evenly spaced training images, cropped to the centre square as in testing.

        The result is deterministic.
        """
        size = SIZE if size is None else size
        if size not in self._means:
            self._means[size] = _mean(self.train, size)
        return self._means[size]

    def take(self, count: int) -> ImageStream:
        indices = self.train.indices[fixed_subset(count, self.train_count, self.name)]
        return replace(self, train=replace(self.train, indices=indices))

    def hold_out(self, count: int, seed: int) -> ImageStream:
        held_out, remaining = (self.train.indices[part] for part in hold_out(count, self.train_count, seed, self.name))
        return replace(
            self,
            train=replace(self.train, indices=remaining),
            test=Split(self.train.source, held_out, f"{self.name}, held out"),
        )

    def defaults(self, size: int | None = None, test_size: int | None = None) -> dict[str, Any]:
        """Returns the default training options for photographs: the mean, the views and their augmentation.

        Args:
            size, test_size: the size of the training and of the test views in pixels, if already chosen.
        """
        size = size or SIZE
        options = {"mean": "channel", "size": size, "crop": "scale", "color": "none", "flip": True}
        return {**options, **default_sizes(size, test_size)}

    def training_batches(
        self, *, batch_size: int, seed: int, shard: Shard = (0, 1), workers: int = 0, **augmentation: Any
    ) -> StreamTrainingBatches:
        """Returns the batches for training; the arguments are those of `StreamTrainingBatches`."""
        return StreamTrainingBatches(
            split=self.train, batch_size=batch_size, seed=seed, shard=shard, workers=workers, **augmentation
        )

    def test_batches(
        self, *, batch_size: int, shard: Shard = (0, 1), size: int | None = None, split: str = "test", **options: Any
    ) -> StreamTestBatches:
        """Returns batches that contain every test image once, or every training image if `split` is "train".

        The other arguments are those of `StreamTestBatches`.
        """
        size = SIZE if size is None else size
        images = self.train if split == "train" else self.test
        return StreamTestBatches(split=images, batch_size=batch_size, shard=shard, size=size, **options)

    def multi_view(self, cut: Cut, *, split: str = "test", **options: Any) -> MultiViewBatches:
        """Returns every test image once, or every training image if `split` is "train", as the views made by `cut`.

        The other arguments are those of `MultiViewBatches`.
        """
        return MultiViewBatches(split=self.train if split == "train" else self.test, cut=cut, **options)


def _mean(split: Split, size: int) -> np.ndarray:
    from tqdm import tqdm

    sample = replace(split, indices=split.indices[evenly_spaced(MEAN_OF, len(split))])
    total, weight = np.zeros((size, size, 3)), 0.0
    # disable=None: no progress bar if stderr is not a terminal.
    bar = tqdm(desc=f"Mean of {split.name}", total=len(sample), delay=1, leave=False, disable=None)
    with bar:
        # Any share of bad images is accepted here: too many in this sample need not be too many of the entire set.
        for images, _, weights in StreamTestBatches(split=sample, batch_size=50, size=size, bad_share=1.0):
            total += images.sum(axis=0, dtype=np.int64)  # an image of weight 0 is black
            weight += weights.sum()
            bar.update(min(len(images), len(sample) - bar.n))
    return total / weight


def absolute_path(name: str) -> str | None:
    """Returns the absolute path of the folder of photographs named "folder:PATH"; None for any other data set."""
    if not name.startswith(FOLDER):
        return None
    return str(Path(os.path.expanduser(name.removeprefix(FOLDER))).resolve())


def short_name(name: str) -> str:
    """Returns the name after which folders of results are called: for "folder:PATH", that of the folder itself."""
    return Path(absolute_path(name) or name).name


def load_stream(name: str, data_dir: str | os.PathLike[str] | None) -> ImageStream:
    """Opens a folder of photographs or a set prepared by tensorflow-datasets.

    Raises:
        DataError: as for `open_folder` and `open_prepared`.
    """
    fingerprint = None
    if name.startswith(FOLDER):
        folders = open_folder(name.removeprefix(FOLDER))
        sources: Sequence[Source] = folders
        fingerprint = "-".join(folder.digest[:32] for folder in folders)
    else:
        sources = [PreparedSource(name, data_dir, test=test) for test in (False, True)]
        for source in sources:
            source.read([0])  # otherwise missing labels of a test split would only be noticed after the first epoch
    train, test = (
        Split(source, np.arange(len(source)), f"{name}, {split}")
        for source, split in zip(sources, ("train", "test"), strict=True)
    )
    return ImageStream(name, sources[0].class_names, train, test, fingerprint)
