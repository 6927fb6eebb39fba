"""Memory that a training step needs, with and without `--rematerialize`.

    python benchmarks/memory.py --models resnet152 --image-size 224 --batch 4 [--json FILE]

Each measurement runs in a new process: the difference in MiB between the peak resident memory during three steps and
the resident memory before them. It includes the optimizer's velocities, which the first step creates. The memory of an
accelerator is not counted, so that the figures are meaningful on processors only.
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
from workers import Setting, Subject

STEPS = 3


def added_memory(load: Callable[[Setting], steps.Step], setting: Setting) -> dict[str, float]:
    """Measures the MiB that training steps add to the process."""
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
        f"keras_resnet, {name}{suffix}": Subject(partial(added_memory, partial(steps.ours, **split)), name)
        for name in training.BACKENDS
        for suffix, split in training.SPLITS.items()
    },
    **{
        f"Keras's layers, {name}": Subject(partial(added_memory, partial(steps.ours, as_built=False)), name)
        for name in training.BACKENDS
    },
    training.BASE: Subject(partial(added_memory, partial(steps.pytorch, compile=False)), "torch"),
}


if __name__ == "__main__":
    sys.exit(training.by_depth(__doc__, SUBJECTS))
