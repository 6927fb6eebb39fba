"""Peak memory and time of a training step with and without `--rematerialize`, each in a process of its own.

    KERAS_BACKEND=jax python benchmarks/rematerialization.py [resnet152 8 224] [--loop-units] [--json FILE]

The arguments are a network, the images of a batch and their side; with `--loop-units` both ways have that. Memory is
the process's greatest resident size less that before the step, so on an accelerator it says nothing.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from keras_resnet import backend

STEPS = 3


def measure(name: str, batch: int, size: int, **ways: bool) -> dict[str, float]:
    """Builds the network and takes some steps."""
    backend.settle()
    import keras
    import numpy as np

    from keras_resnet.models.catalog import find
    from keras_resnet.models.taps import taps
    from keras_resnet.training.units import in_units

    network = find(name)
    model = network(input_shape=(size, size, 3))
    model = keras.Model(model.input, taps(model)["logits"])
    if any(ways.values()):
        model = in_units(model, **ways)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).standard_normal((batch, size, size, 3)).astype("float32")
    labels = np.zeros(batch, "int32")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(1 + STEPS):
        begun = time.perf_counter()
        model.train_on_batch(images, labels)
        seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "mebibytes": round((peak - before) / 1024),
        "first_step_seconds": round(seconds[0], 1),
        "step_seconds": round(statistics.median(seconds[1:]), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?", default="resnet152")
    parser.add_argument("batch", nargs="?", type=int, default=8)
    parser.add_argument("size", nargs="?", type=int, default=224)
    parser.add_argument("--loop-units", action="store_true", help="trace and compile units that are alike once")
    parser.add_argument("--json", metavar="FILE", help="where to write the result")
    parser.add_argument("--one", choices=("with", "without"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    case = arguments.network, arguments.batch, arguments.size
    if arguments.one:
        print(json.dumps(measure(*case, rematerialize=arguments.one == "with", loop=arguments.loop_units)))
        return
    results = {}
    for way in ("without", "with"):
        command = [sys.executable, __file__, *map(str, case), "--one", way]
        command += ["--loop-units"] if arguments.loop_units else []
        results[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
    name = backend.settle()
    print(f"{case[0]}, {case[1]} images of {case[2]}x{case[2]}, {name}, {backend.device()}")
    for way, result in results.items():
        print(f"{way:8}" + "".join(f"{value:>12} {unit}" for unit, value in result.items()))
    if arguments.json:
        from keras_resnet.saving import write_json

        keys = {"network": case[0], "batch": case[1], "size": case[2], "loop_units": arguments.loop_units}
        keys |= {"backend": name, "device": backend.device()}
        write_json(Path(arguments.json), {**keys, "versions": backend.versions(), **results})


if __name__ == "__main__":
    main()
