"""Estimates of what the runs of an experiment cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..models.complexity import count
from ..models.rows import STEMS
from ..tables import text_table
from ..training.recipe import Recipe
from .rows import TRAINING_IMAGES
from .runs import Run

CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet2012": 1000}


def speed() -> float:
    """Measures the speed at which this machine trains ResNet-20 in batches of 128, after two steps to compile.

    Returns:
        The multiply-adds per second, counting forward passes only.
    """
    import keras

    from ..models.cifar import ResNet20

    model = ResNet20(data_format="channels_last")
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    images, labels = np.zeros((128, 32, 32, 3), "float32"), np.zeros(128, int)
    seconds = []
    for _ in range(5):  # the first two trace and compile
        start = time.perf_counter()
        model.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - start)
    return 128 * count(ResNet20.spec, 10).macs / statistics.median(seconds[2:])


def costs(run: Run, macs_per_second: float) -> dict[str, Any]:
    """Returns the cost of a run as a row of the plan.

    Args:
        run: the run.
        macs_per_second: speed of this machine, as returned by `speed`.

    Returns:
        "row", "seed", "model", "layers", "parameters", "macs" (per image), "images" (processed in training, repeated
        ones included), "hours" and "state" ("done", "begun" or "missing").
    """
    spec, recipe = run.recipe.spec, run.recipe
    size = recipe.size or STEMS[spec.stem].image_size
    cost = count(spec, CLASSES.get(recipe.dataset, 10), (size, size, 3))
    images = _images(recipe)
    return {
        "row": run.row.name,
        "seed": recipe.seed,
        "model": recipe.model,
        "layers": cost.layers,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "images": images,
        "hours": round(cost.macs * images / macs_per_second / 3600, 2),
        "state": "done" if run.result() else "begun" if run.folder.exists() else "missing",
    }


def _images(recipe: Recipe) -> int:
    if recipe.epochs is None:
        return recipe.steps * recipe.batch_size
    return recipe.epochs * (recipe.images or TRAINING_IMAGES.get(recipe.dataset, 0))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns a plan as a text table."""
    head = ("row", "seed", "network", "layers", "parameters", "MACs", "images", "hours", "state")
    body = [
        (
            row["row"],
            str(row["seed"]),
            row["model"],
            f"{row['layers']:,}",
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            f"{row['images']:,}",
            f"{row['hours']:,.2f}",
            row["state"],
        )
        for row in rows
    ]
    return text_table(head, body, (1, 3, 4, 5, 6, 7))
