"""Generated pictures for tests of the data room."""

import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from keras_resnet.data.records import Record


def photograph(seed: int, height: int, width: int) -> np.ndarray:
    """Returns a smooth picture with some grain, uint8 (height, width, 3) in RGB."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 236, (5, 6, 3)).astype(np.float32)
    grain = rng.normal(0, 4, (height, width, 3))
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + grain, 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray, mode: str = "RGB", **options) -> bytes:
    """Encodes an RGB picture as a JPEG file, in one of Pillow's modes and with its options."""
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


class Album:
    """A source of records in memory; the label of a picture is its index."""

    def __init__(self, files: Sequence[bytes]) -> None:
        self.files = files
        self.class_names = tuple(map(str, range(len(files))))

    def __len__(self) -> int:
        return len(self.files)

    def read(self, numbers: Sequence[int]) -> list[Record]:
        """Returns the records with these indices, as every source does."""
        return [Record(self.files[number], number, f"picture {number}") for number in numbers]
