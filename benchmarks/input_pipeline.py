"""Training views of photographs: images a second on one core, beside Pillow, tf.data and the bare JPEG decode.

    python benchmarks/input_pipeline.py [--data ../shared/data/imagenet_sample] [--rounds 15] [--out FILE]

All read the same files and make the same kinds of view, of 224x224 and mirrored by chance:

- "scale", the papers': the shorter side is resized to 256 to 480, and a square is cut. With Pillow, that is
  torchvision's Resize to a random size and RandomCrop; tf.data and we cut first.
- "aspect_ratio": torchvision's RandomResizedCrop, which cuts before it resizes, as tf.data and we do.

tf.data decodes within the window alone. The bare decode is cv2.imdecode of whole files that lie in memory, and makes no
view at all.

The process keeps to one core, and every part to one thread. The parts take turns, 25 images each, so that what else the
machine does befalls all of them alike; a round is every file once. Ratios are taken round by round.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SIZE, PART = 224, 25
CROPS, SCALES, AREA = ("scale", "aspect_ratio"), (256, 480), (0.08, 1.0)
OURS, PILLOW, TF_DATA, BARE = "keras_resnet", "Pillow, as torchvision", "tf.data", "bare decode"


class Files:
    """A flat folder of photographs as a source of records."""

    class_names = ("photograph",)

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, numbers):
        from keras_resnet.data.records import Record

        return [Record(self.paths[number].read_bytes(), 0, self.paths[number].name) for number in numbers]


def ours(paths: list[Path], crop: str) -> Iterator:
    """Batches as `model.fit` would get them, made when they are asked for."""
    import numpy as np

    from keras_resnet.data.stream_batches import Side, StreamTrainingBatches

    side = Side(Files(paths), np.arange(len(paths)), "benchmark")
    return StreamTrainingBatches(side=side, batch_size=PART, seed=0, size=SIZE, crop=crop, threads=0).stream()


def pillow(paths: list[Path], crop: str) -> Iterator:
    """torchvision's views on Pillow images, stacked to a batch."""
    import numpy as np
    from PIL import Image

    from keras_resnet.data.views import DRAWS, aspect_ratio_window

    rng = np.random.default_rng(0)

    def scaled(image):
        scale = rng.integers(SCALES[0], SCALES[1] + 1) / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.BILINEAR)
        left, top = (int(rng.integers(side - SIZE + 1)) for side in image.size)
        return image.crop((left, top, left + SIZE, top + SIZE))

    def aspect_ratio(image):
        draws = rng.random(DRAWS).tolist()
        top, left, height, width = aspect_ratio_window(image.height, image.width, draws, area=AREA)
        return image.crop((left, top, left + width, top + height)).resize((SIZE, SIZE), Image.BILINEAR)

    cut = {"scale": scaled, "aspect_ratio": aspect_ratio}[crop]
    while True:
        for first in range(0, len(paths), PART):
            images = np.empty((PART, SIZE, SIZE, 3), np.uint8)
            for row, path in enumerate(paths[first : first + PART]):
                with path.open("rb") as file:
                    image = cut(Image.open(file).convert("RGB"))
                images[row] = image.transpose(Image.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image
            yield images


def tf_data(paths: list[Path], crop: str) -> Iterator | None:
    """The usual ImageNet pipeline on tf.data; None where TensorFlow is not installed."""
    try:
        import tensorflow as tf
    except ImportError:
        return None
    tf.config.set_visible_devices([], "GPU")

    def scaled(shape):
        shape = tf.cast(shape[:2], tf.float32)
        shorter = tf.cast(tf.random.uniform((), SCALES[0], SCALES[1] + 1, tf.int32), tf.float32)
        extent = SIZE * tf.reduce_min(shape) / shorter
        begin = tf.random.uniform((2,)) * (shape - extent)
        return tf.cast(tf.concat([begin, [extent, extent]], 0), tf.int32)

    def aspect_ratio(shape):
        begin, extent, _ = tf.image.sample_distorted_bounding_box(
            shape,
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            area_range=AREA,
            aspect_ratio_range=(3 / 4, 4 / 3),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        return tf.concat([begin[:2], extent[:2]], 0)

    choose = {"scale": scaled, "aspect_ratio": aspect_ratio}[crop]

    def view(path):
        data = tf.io.read_file(path)
        image = tf.image.decode_and_crop_jpeg(data, choose(tf.image.extract_jpeg_shape(data)), channels=3)
        image = tf.image.random_flip_left_right(tf.image.resize(image, (SIZE, SIZE)))
        return tf.cast(image + 0.5, tf.uint8)

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    # They would make batches ahead of time, while the others are timed.
    options.experimental_optimization.apply_default_optimizations = False
    names = tf.data.Dataset.from_tensor_slices([str(path) for path in paths]).repeat()
    return names.map(view).batch(PART).with_options(options).as_numpy_iterator()


def bare(paths: list[Path], _crop: str) -> Iterator:
    """OpenCV's decoding of whole files, and nothing else."""
    import cv2
    import numpy as np

    files = [np.fromfile(path, np.uint8) for path in paths]
    while True:
        for first in range(0, len(files), PART):
            for data in files[first : first + PART]:
                cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
            yield


def measure(parts: dict[str, Callable[[], object]], images: int, rounds: int) -> dict[str, list[float]]:
    """Images a second of every part, round by round; the first round warms up and is dropped."""
    speeds: dict[str, list[float]] = {name: [] for name in parts}
    for number in range(rounds + 1):
        seconds = dict.fromkeys(parts, 0.0)
        for _ in range(0, images, PART):
            for name, part in parts.items():
                begun = time.perf_counter()
                part()
                seconds[name] += time.perf_counter() - begun
        for name in parts:
            if number:
                speeds[name].append(images / seconds[name])
    return speeds


def summarize(speeds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """The median speed of every part, and the median of our speed by its, with the quartiles of the latter."""
    rows = {}
    for name, values in speeds.items():
        ratios = [mine / other for mine, other in zip(speeds[OURS], values, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows[name] = {
            "images_per_second": round(statistics.median(values), 1),
            "ours_by_it": round(middle, 3),
            "quartiles": [round(low, 3), round(high, 3)],
        }
    return rows


def table(crop: str, rows: dict[str, dict[str, float] | None]) -> str:
    """The result as a Markdown table."""
    lines = [f'| one core, crop="{crop}" | images/s | ours is times as fast |', "|---|---|---|"]
    for name, row in rows.items():
        speed, ratio = ("-", "-") if row is None else (f"{row['images_per_second']:,.0f}", f"{row['ours_by_it']:.2f}")
        lines.append(f"| {name}{' (not installed)' if row is None else ''} | {speed} | {ratio} |")
    return "\n".join(lines)


def device() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "imagenet_sample")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "input_pipeline.json")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.data.iterdir() if path.suffix.lower() in (".jpeg", ".jpg"))
    paths = paths[: len(paths) // PART * PART]
    if not paths or arguments.rounds < 2:
        parser.error(f"{arguments.data} must hold {PART} JPEGs or more, and --rounds be 2 or more")

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import cv2

    cv2.setNumThreads(1)
    tables = {}
    for crop in CROPS:
        loaders = {OURS: ours, PILLOW: pillow, TF_DATA: tf_data, BARE: bare}
        made = {name: loader(paths, crop) for name, loader in loaders.items()}
        parts = {name: partial(next, iterator) for name, iterator in made.items() if iterator is not None}
        rows = summarize(measure(parts, len(paths), arguments.rounds))
        tables[crop] = {name: rows.get(name) for name in made}

    packages = ("grain", "numpy", "opencv-python-headless", "pillow", "tensorflow")
    result = {
        "what": f"training views of {SIZE}x{SIZE} on one core, one thread each, {len(paths)} files a round",
        "data": arguments.data.name,
        "rounds": arguments.rounds,
        "crops": tables,
        "device": device(),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages if name != "tensorflow" or rows.get(TF_DATA)},
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.out.with_suffix(f".partial-{os.getpid()}")
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    os.replace(temporary, arguments.out)
    print("\n\n".join(table(crop, rows) for crop, rows in tables.items()))


if __name__ == "__main__":
    main()
