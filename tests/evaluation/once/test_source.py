"""Images given by the user."""

from __future__ import annotations

import cv2
import numpy as np

from keras_resnet.evaluation.source import Source


def test_of_more_images_than_wanted_evenly_spaced_ones_are_taken(tmp_path):
    """A folder is sorted by class: the first five of these images are all of one class."""
    array = np.repeat(np.arange(12, dtype=np.uint8), 8 * 8 * 3).reshape(12, 8, 8, 3)
    np.save(tmp_path / "images.npy", array)
    for number, image in enumerate(array):
        folder = tmp_path / "photos" / "ab"[number // 6]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:02}.png"), image)
    for source in ("images.npy", "photos"):
        for at_most, expected in ((3, [0, 6, 11]), (12, range(12)), (50, range(12)), (None, range(12))):
            images = list(Source(tmp_path / source, (8, 8, 3), None, at_most))
            assert [image[0, 0, 0] for _, image in images] == list(expected)
            assert len({name for name, _ in images}) == len(expected)
