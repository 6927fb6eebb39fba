"""Small runs that several test files use: a tiny network on a few of the digits."""

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
# Only two units: most of a run's time goes into tracing and compiling them, in each process.
NETWORK = {"stage_units": (1, 1), "stage_filters": (4, 8), "shortcut": "B"}
SMALL = {
    "dataset": "digits",
    "model": "resnet8",
    "network": NETWORK,
    "batch_size": 32,
    "epochs": 2,
}
# Uses all state that a run must save beyond its weights and velocities.
STATEFUL = {
    **SMALL,
    "network": {**SMALL["network"], "stochastic_depth": 0.5, "skip": "dropout", "skip_dropout": 0.2},
    "epochs": 4,
    "schedule": "cosine",
    "nesterov": True,
    "ema": 0.5,
    "warmup_rate": 0.02,
    "warmup_error": 0.99,  # reached in the first epoch; a run that did not save this would warm up again
}
# The first of two epochs, of three steps, is stable; the second has a learning rate of 1e29.
EXPLOSIVE = {**STATEFUL, "epochs": 2, "schedule": "step", "drops": (), "warmup_iterations": 3, "learning_rate": 1e29}
COLUMNS_OF_TIME = ("seconds", "images_per_second")


def few_digits(train: int = TRAINED, test: int = TESTED) -> Any:
    """Returns the row of the digits data set, with fewer images."""
    from keras_resnet.data import DATASETS

    def read(data_dir: Any) -> tuple[np.ndarray, ...]:
        x_train, y_train, x_test, y_test = row.read(data_dir)
        return x_train[:train], y_train[:train], x_test[:test], y_test[:test]

    row = _ALL_DIGITS.setdefault("row", DATASETS["digits"])
    return dataclasses.replace(row, read=read)


_ALL_DIGITS: dict[str, Any] = {}


def take_few_digits() -> None:
    """Replaces the digits by few of them permanently; for subprocesses."""
    from keras_resnet.data import DATASETS

    DATASETS["digits"] = few_digits()


def take_them_for_larger(side: int) -> None:
    """Declares another size of the digits permanently, as if it were unknown until they are read; for subprocesses."""
    from keras_resnet.data import DATASETS

    DATASETS["digits"] = dataclasses.replace(DATASETS["digits"], side=side)


def signal_in(epoch: int, step: int, number: int = signal.SIGKILL) -> None:
    """Sends this process a signal after a step of an epoch, both counted from 1."""
    from keras_resnet.training.learning_rate import LearningRate

    def on_train_batch_end(self: Any, batch: int, logs: Any = None) -> None:
        original(self, batch, logs)
        if (self._first_step + batch) == (epoch - 1) * self.steps_per_epoch + step - 1:
            os.kill(os.getpid(), number)

    original, LearningRate.on_train_batch_end = LearningRate.on_train_batch_end, on_train_batch_end


def small_recipe(**changes: Any) -> Any:
    """Returns the smallest recipe with changes; changes of the network are added to its own."""
    from keras_resnet.training.recipes import recipe_for

    network = {**SMALL["network"], **changes.pop("network", {})}
    return recipe_for(**{**SMALL, **changes, "network": network})


@functools.cache
def finished() -> Path:
    """Returns the folder of an uninterrupted run of `STATEFUL`. It must not be changed: all test processes share it."""
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
    """Returns every array in a `.keras` file, read without Keras."""
    import h5py

    values = {}
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(lambda name, item: values.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return values


def info(path: Path) -> dict[str, Any]:
    """Returns the information that the package has saved in a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("keras_resnet.json"))


def config(path: Path) -> str:
    """Returns the configuration that Keras has saved in a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        return archive.read("config.json").decode()


def results(folder: Path) -> dict[str, Any]:
    """Returns all results of a run except times: recipe, history, summary, and every number that it has saved."""
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
    """Changes a byte in the weights of a `.keras` file, so that it still opens but Keras fails to read the weights."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("model.weights.h5")
    content[member.header_offset + member.file_size // 2] ^= 0xFF
    path.write_bytes(content)


def history(folder: Path) -> list[dict[str, str]]:
    """Returns the rows of `history.csv`, as text."""
    header, *rows = (line.split(",") for line in (folder / "history.csv").read_text().splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Returns the modification time and contents of every file in a folder, except for the lock file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
