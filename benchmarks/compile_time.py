"""How long it takes until a network trains: to build it, and to take a first step; and a step behind that, by depth.

    python benchmarks/compile_time.py --models resnet20,resnet56,resnet110 [--image-size 32 --batch 128] [--json FILE]

Each in a new process. "Rematerialized" is `--rematerialize`, "in loops" is `--loop-units`. Importing the backend is not
counted, nor what Keras's layers are described by. The first step makes the optimizer's velocities, too.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

import harness
import steps
import training
from harness import Setting, Subject


def begun(load: Callable[[Setting], steps.Step], setting: Setting, kind: str = "peer") -> dict[str, float]:
    """Seconds of what comes first, and milliseconds of a step.

    Args:
        load: makes the step.
        setting: what the case is.
        kind: "ours" or "Keras's", whose process begins as the command does; or "peer".
    """
    if kind != "peer":
        harness.as_the_command()
    import keras  # noqa: F401 - not counted

    if kind == "Keras's":
        steps.described(setting["model"], setting["image_size"], setting["precision"])
    size, batch = setting["image_size"], setting["batch"]
    arrays = np.zeros((batch, size, size, 3), "float32"), np.zeros(batch, "int32")
    moments = [time.perf_counter()]
    step = load(setting)
    moments.append(time.perf_counter())
    images, labels = map(step.place, arrays)
    step.take(images, labels)
    moments.append(time.perf_counter())
    step.take(images, labels)
    taken: list[float] = []
    while sum(taken) < setting["seconds"]:
        before = time.perf_counter()
        step.take(images, labels)
        taken.append(time.perf_counter() - before)
    return {
        "build_seconds": moments[1] - moments[0],
        "first_step_seconds": moments[2] - moments[1],
        "step_milliseconds": 1000 * statistics.median(taken),
    }


SUBJECTS = {
    **{
        f"keras_resnet, {name}{words}": Subject(partial(begun, partial(steps.ours, **ways), kind="ours"), name)
        for name in training.BACKENDS
        for words, ways in training.WAYS.items()
    },
    **{
        f"Keras's layers, {name}": Subject(partial(begun, partial(steps.ours, as_built=False), kind="Keras's"), name)
        for name in training.BACKENDS
    },
    training.BASE: Subject(partial(begun, partial(steps.pytorch, compile=False)), "torch"),
    "PyTorch, compiled": Subject(partial(begun, partial(steps.pytorch, compile=True)), "torch"),
}


if __name__ == "__main__":
    sys.exit(training.by_depth(__doc__, SUBJECTS))
