"""Time until a network trains, by depth: to build it, to take the first step, and to take a later step.

    python benchmarks/compile_time.py --models resnet20,resnet56,resnet110 [--image-size 32 --batch 128] [--json FILE]

Each measurement runs in a new process. "Rematerialized" is `--rematerialize`, "in loops" is `--loop-units`. Importing
the backend is not counted, nor is making the config from which "Keras's layers" are built. The first step includes
creating the optimizer's velocities.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

import steps
import training
from workers import Setting, Subject, start_as_command


def first_steps(load: Callable[[Setting], steps.Step], setting: Setting, kind: str = "peer") -> dict[str, float]:
    """Measures the seconds to build and to take the first step, and the milliseconds of a later step.

    Args:
        load: makes the step.
        setting: the case.
        kind: "ours" or "Keras's", whose process is set up as the command's is; or "peer".
    """
    if kind != "peer":
        start_as_command()
    import keras  # noqa: F401 - so that importing it is not counted

    if kind == "Keras's":
        steps.network_config(setting["model"], setting["image_size"], setting["precision"])
    size, batch = setting["image_size"], setting["batch"]
    arrays = np.zeros((batch, size, size, 3), "float32"), np.zeros(batch, "int32")
    moments = [time.perf_counter()]
    step = load(setting)
    moments.append(time.perf_counter())
    images, labels = map(step.place, arrays)
    step.take(images, labels)
    moments.append(time.perf_counter())
    step.take(images, labels)
    seconds: list[float] = []
    while sum(seconds) < setting["seconds"]:
        start = time.perf_counter()
        step.take(images, labels)
        seconds.append(time.perf_counter() - start)
    return {
        "build_seconds": moments[1] - moments[0],
        "first_step_seconds": moments[2] - moments[1],
        "step_milliseconds": 1000 * statistics.median(seconds),
    }


SUBJECTS = {
    **{
        f"keras_resnet, {name}{suffix}": Subject(partial(first_steps, partial(steps.ours, **split), kind="ours"), name)
        for name in training.BACKENDS
        for suffix, split in training.SPLITS.items()
    },
    **{
        f"Keras's layers, {name}": Subject(
            partial(first_steps, partial(steps.ours, as_built=False), kind="Keras's"), name
        )
        for name in training.BACKENDS
    },
    training.BASE: Subject(partial(first_steps, partial(steps.pytorch, compile=False)), "torch"),
    "PyTorch, compiled": Subject(partial(first_steps, partial(steps.pytorch, compile=True)), "torch"),
}


if __name__ == "__main__":
    sys.exit(training.by_depth(__doc__, SUBJECTS))
