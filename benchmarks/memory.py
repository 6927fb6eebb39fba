"""How much memory a training step needs, with and without `--rematerialize`.

    python benchmarks/memory.py --models resnet152 --image-size 224 --batch 4 [--json FILE]

Each in a new process: by how much the most that it holds during three steps is above what it holds before them, in MiB.
The first step makes the optimizer's velocities, too. On an accelerator, whose memory is not the process's, it says
nothing.
"""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import steps
import training
from harness import Setting, Subject

STEPS = 3


def added(load: Callable[[Setting], steps.Step], setting: Setting) -> dict[str, float]:
    """The MiB that steps add."""
    size, batch = setting["image_size"], setting["batch"]
    step = load(setting)
    images, labels = map(step.place, (np.zeros((batch, size, size, 3), "float32"), np.zeros(batch, "int32")))
    gc.collect()
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    for _ in range(STEPS):
        step.take(images, labels)
    return {"mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before / 2**20}


SUBJECTS = {
    **{
        f"keras_resnet, {name}{words}": Subject(partial(added, partial(steps.ours, **ways)), name)
        for name in training.BACKENDS
        for words, ways in training.WAYS.items()
    },
    **{
        f"Keras's layers, {name}": Subject(partial(added, partial(steps.ours, as_built=False)), name)
        for name in training.BACKENDS
    },
    training.BASE: Subject(partial(added, partial(steps.pytorch, compile=False)), "torch"),
}


if __name__ == "__main__":
    sys.exit(training.by_depth(__doc__, SUBJECTS))
