"""Time to make training views of photographs in one thread: this package, Pillow, tf.data and decoding alone.

    python benchmarks/input_pipeline.py [--photographs ../shared/data/imagenet_sample] [--json FILE]

All read the same files and make the same kinds of views of 224x224 pixels, mirrored at random:

- "scale", the papers' views: the shorter side is resized to 256 to 480 pixels, and a square is cropped. With Pillow,
  that is torchvision's Resize to a random size and RandomCrop; tf.data and this package crop first.
- "aspect_ratio": torchvision's RandomResizedCrop. All crop before they resize.

tf.data decodes only the crop window. The "bare decode" is cv2.imdecode of entire files that are already in memory, and
makes no views. Times are also given as shares of the bare decode's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import harness
from workers import Contender, Setting, start_as_command

PHOTOGRAPHS = Path(__file__).resolve().parents[2] / "shared" / "data" / "imagenet_sample"
SIZE, BATCH = 224, 25
CROPS, SCALES, AREA = ("scale", "aspect_ratio"), (256, 480), (0.08, 1.0)
BASE = "bare decode"


class Files:
    """Source of records that reads the photographs of a flat folder."""

    class_names = ("photograph",)

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, numbers: np.ndarray) -> list[Any]:
        from keras_resnet.data.records import Record

        return [Record(self.paths[number].read_bytes(), 0, self.paths[number].name) for number in numbers]


def next_batch(make: Callable[[list[Path], str], Iterator[Any]], setting: Setting) -> Callable[[], Any]:
    """Returns the call that is timed: it makes the next batch."""
    import cv2

    cv2.setNumThreads(1)
    batches = make(photographs(setting["photographs"]), setting["crop"])
    return lambda: next(batches)


def photographs(folder: str) -> list[Path]:
    """Paths of the JPEGs in a folder; those that would not fill a batch are left out."""
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in (".jpeg", ".jpg"))
    return paths[: len(paths) // BATCH * BATCH]


def ours(paths: list[Path], crop: str) -> Iterator[Any]:
    """Batches as `model.fit` gets them from the command, but made only when they are requested."""
    start_as_command()
    from keras_resnet.data.stream_batches import Split, StreamTrainingBatches

    side = Split(Files(paths), np.arange(len(paths)), "benchmark")
    return StreamTrainingBatches(split=side, batch_size=BATCH, seed=0, size=SIZE, crop=crop, threads=0).stream()


def pillow(paths: list[Path], crop: str) -> Iterator[Any]:
    """torchvision's views of Pillow images, stacked to batches."""
    from PIL import Image

    from keras_resnet.data.views import DRAWS, aspect_ratio_window

    rng = np.random.default_rng(0)

    def scale_crop(image: Image.Image) -> Image.Image:
        scale = rng.integers(SCALES[0], SCALES[1] + 1) / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.BILINEAR)
        left, top = (int(rng.integers(side - SIZE + 1)) for side in image.size)
        return image.crop((left, top, left + SIZE, top + SIZE))

    def aspect_ratio_crop(image: Image.Image) -> Image.Image:
        draws = rng.random(DRAWS).tolist()
        top, left, height, width = aspect_ratio_window(image.height, image.width, draws, area=AREA)
        return image.crop((left, top, left + width, top + height)).resize((SIZE, SIZE), Image.BILINEAR)

    make_view = {"scale": scale_crop, "aspect_ratio": aspect_ratio_crop}[crop]
    while True:
        for first in range(0, len(paths), BATCH):
            images = np.empty((BATCH, SIZE, SIZE, 3), np.uint8)
            for row, path in enumerate(paths[first : first + BATCH]):
                with path.open("rb") as file:
                    image = make_view(Image.open(file).convert("RGB"))
                images[row] = image.transpose(Image.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image
            yield images


def tf_data(paths: list[Path], crop: str) -> Iterator[Any]:
    """The usual ImageNet input pipeline of tf.data."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise LookupError(f"TensorFlow: {error}") from error
    tf.config.set_visible_devices([], "GPU")

    def scale_window(shape: Any) -> Any:
        shape = tf.cast(shape[:2], tf.float32)
        shorter = tf.cast(tf.random.uniform((), SCALES[0], SCALES[1] + 1, tf.int32), tf.float32)
        extent = SIZE * tf.reduce_min(shape) / shorter
        begin = tf.random.uniform((2,)) * (shape - extent)
        return tf.cast(tf.concat([begin, [extent, extent]], 0), tf.int32)

    def aspect_ratio_window(shape: Any) -> Any:
        begin, extent, _ = tf.image.sample_distorted_bounding_box(
            shape,
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            area_range=AREA,
            aspect_ratio_range=(3 / 4, 4 / 3),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        return tf.concat([begin[:2], extent[:2]], 0)

    draw_window = {"scale": scale_window, "aspect_ratio": aspect_ratio_window}[crop]

    def view(path: Any) -> Any:
        data = tf.io.read_file(path)
        image = tf.image.decode_and_crop_jpeg(data, draw_window(tf.image.extract_jpeg_shape(data)), channels=3)
        image = tf.image.random_flip_left_right(tf.image.resize(image, (SIZE, SIZE)))
        return tf.cast(image + 0.5, tf.uint8)

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    # The default optimizations would make batches ahead of time, while other contenders are timed.
    options.experimental_optimization.apply_default_optimizations = False
    names = tf.data.Dataset.from_tensor_slices([str(path) for path in paths]).repeat()
    return names.map(view).batch(BATCH).with_options(options).as_numpy_iterator()


def bare(paths: list[Path], _: str) -> Iterator[Any]:
    """OpenCV's decoding of entire files, and nothing else."""
    import cv2

    files = [np.fromfile(path, np.uint8) for path in paths]
    while True:
        for first in range(0, len(files), BATCH):
            for data in files[first : first + BATCH]:
                cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
            yield


CONTENDERS = {
    "keras_resnet": Contender(partial(next_batch, ours)),
    "Pillow, as torchvision": Contender(partial(next_batch, pillow)),
    "tf.data": Contender(partial(next_batch, tf_data)),
    BASE: Contender(partial(next_batch, bare)),
}


def main() -> int:
    parser = harness.options(__doc__, CONTENDERS)
    parser.add_argument("--photographs", metavar="FOLDER", default=str(PHOTOGRAPHS), help="folder of JPEGs")
    parser.set_defaults(cores="1", rounds=15, seconds=0.5)
    arguments = harness.parse(parser, CONTENDERS)
    if not Path(arguments.photographs).is_dir() or not photographs(arguments.photographs):
        parser.error(f"--photographs must be a folder of {BATCH} JPEGs or more. Received: {arguments.photographs}")
    for crop in CROPS:
        case = {"what": f"views, crop {crop}", "image_size": SIZE}
        options = {"crop": crop, "photographs": arguments.photographs}
        harness.compare(CONTENDERS, arguments, case, [BATCH], BASE, **options)
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
