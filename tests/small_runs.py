"""Small runs that several test files look at: the smallest network on a few of the digits."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import signal
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

TRAINED, TESTED = 97, 53  # prime, so that no batch divides them
SMALL = {
    "dataset": "digits",
    "model": "resnet8",
    "network": {"width": 0.25, "shortcut": "B"},
    "batch_size": 32,
    "epochs": 2,
}
# Everything that a run must remember beyond its weights and velocities.
STATEFUL = {
    **SMALL,
    "network": {**SMALL["network"], "stochastic_depth": 0.5, "skip": "dropout", "skip_dropout": 0.2},
    "epochs": 4,
    "schedule": "cosine",
    "nesterov": True,
    "ema": 0.5,
    "warmup_rate": 0.02,
    "warmup_error": 0.99,  # over in the first epoch; a run that forgot would warm up again
}
# The first of two epochs, of three steps, is sound; the second has a learning rate of 1e29.
EXPLOSIVE = {**STATEFUL, "epochs": 2, "schedule": "step", "drops": (), "warmup_iterations": 3, "learning_rate": 1e29}
COLUMNS_OF_TIME = ("seconds", "images_per_second")


def few_digits(train: int = TRAINED, test: int = TESTED) -> Any:
    """The row of the digits, cut down."""
    from keras_resnet.data import DATASETS

    def read(data_dir: Any) -> tuple[np.ndarray, ...]:
        x_train, y_train, x_test, y_test = whole.read(data_dir)
        return x_train[:train], y_train[:train], x_test[:test], y_test[:test]

    whole = _ALL_DIGITS.setdefault("row", DATASETS["digits"])
    return dataclasses.replace(whole, read=read)


_ALL_DIGITS: dict[str, Any] = {}


def take_few_digits() -> None:
    """Cuts the digits down for good: for processes of their own."""
    from keras_resnet.data import DATASETS

    DATASETS["digits"] = few_digits()


def take_them_for_larger(side: int) -> None:
    """Has nobody know how small the digits are, for good: for processes of their own."""
    from keras_resnet.data import DATASETS

    DATASETS["digits"] = dataclasses.replace(DATASETS["digits"], side=side)


def signal_in(epoch: int, step: int, number: int = signal.SIGKILL) -> None:
    """Has a signal come to this process behind a step, in the midst of an epoch, both counted from 1."""
    from keras_resnet.training.learning_rate import LearningRate

    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        after(self, batch, logs)
        if (self._first_step + batch) == (epoch - 1) * self.steps_per_epoch + step - 1:
            os.kill(os.getpid(), number)

    after, LearningRate.on_train_batch_end = LearningRate.on_train_batch_end, on_train_batch_end


def small_recipe(**changes: Any) -> Any:
    """The smallest recipe, with changes; those of the network come on top of its own."""
    from keras_resnet.training.recipes import recipe_for

    network = {**SMALL["network"], **changes.pop("network", {})}
    return recipe_for(**{**SMALL, **changes, "network": network})


@functools.cache
def finished() -> Path:
    """The folder of a run of `STATEFUL` that nothing interrupted. Only to be read: all processes of the tests do."""
    from filelock import FileLock

    from keras_resnet.data import DATASETS
    from keras_resnet.training.run import train

    folder = Path(os.environ["KERAS_RESNET_TESTS"]) / "finished"  # see `conftest.py`
    folder.mkdir(exist_ok=True)
    out = folder / "run"
    with FileLock(folder / "lock"):
        if not (out / "summary.json").is_file():
            row, DATASETS["digits"] = DATASETS["digits"], few_digits()
            try:
                train(small_recipe(**STATEFUL), out, say=lambda line: None)
            finally:
                DATASETS["digits"] = row
    return out


def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array in a `.keras` file, read without Keras."""
    import h5py

    found = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def info(path: Path) -> dict[str, Any]:
    """What the package has noted in a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("keras_resnet.json"))


def config(path: Path) -> str:
    """What Keras has noted in a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json").decode()


def results(folder: Path) -> dict[str, Any]:
    """All that a run has come to but the time it took: recipe, history, summary, and every number it has written."""
    last = max((folder / "checkpoints").glob("epoch_*.keras"))
    summary = json.loads((folder / "summary.json").read_text())
    return {
        "recipe": json.loads((folder / "recipe.json").read_text()),
        "history": [{k: v for k, v in row.items() if k not in COLUMNS_OF_TIME} for row in history(folder)],
        "summary": {k: v for k, v in summary.items() if k not in COLUMNS_OF_TIME},
        "checkpoint": (last.name, info(last)["state"], info(last)["seeds"]),
        "arrays": {name: value.tobytes() for name, value in arrays(folder / "model.keras").items()},
        "arrays of the checkpoint": {name: value.tobytes() for name, value in arrays(last).items()},
    }


def damage_weights(path: Path) -> None:
    """Changes a byte in the weights of a `.keras` file, which still opens: Keras stumbles when it reads them."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("model.weights.h5")
    content[member.header_offset + member.file_size // 2] ^= 0xFF
    path.write_bytes(content)


def history(folder: Path) -> list[dict[str, str]]:
    """The rows of `history.csv`, as text."""
    header, *rows = (line.split(",") for line in (folder / "history.csv").read_text().splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When every file in a folder was written, and its bytes; but for the empty one by which a run holds it."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
