"""Training speed on photographs that are read and decoded, and on one batch repeated: the cost of reading.

    python benchmarks/fed_training.py imagenet2012 [--data-dir FOLDER] [--precision mixed_bfloat16] [--json FILE]

Both kinds use the feed, network and `fit` of a training run, in alternating turns in one process. The results are the
median of each kind's turns in images per second, and the median of the ratios. Batches that were read ahead during a
turn of the other kind are discarded before a turn on photographs. The feed reads ahead by up to one batch more than
twice `--workers`, or than its number of threads; `--steps` should be much larger than that.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time

import harness
from keras_resnet import backend
from workers import Setting, Subject, start_as_command

CHOICES = ("model", "batch_size", "precision", "size")


def measure(setting: Setting) -> dict[str, float]:
    """Measures training of both kinds. The first turn of each, which compiles, does not count."""
    start_as_command()
    from keras_resnet.data import load, steps_per_epoch
    from keras_resnet.host import reader_threads
    from keras_resnet.training.feed import Feed
    from keras_resnet.training.machine import Machine
    from keras_resnet.training.networks import build
    from keras_resnet.training.recipes import recipe_for

    case = {key: setting[key] for key in CHOICES}
    recipe = recipe_for("paper", dataset=setting["dataset"], data_dir=setting["data_dir"], **case)
    data = load(recipe.dataset, recipe.data_dir)
    recipe = recipe.resolve(steps_per_epoch(data.train_count, recipe.batch_size), data.defaults(recipe.size))
    devices, machine, steps = backend.devices(), Machine(workers=setting["workers"]), setting["steps"]
    ahead = (2 * setting["workers"] or reader_threads()) + 1
    with devices.scope():
        networks = build(recipe, data, machine)
        devices.prepare(networks.logits_model, networks.training_model)
        photographs = Feed(recipe, data, devices, machine).training_batches(0, 0)
        feeds = {"photographs": photographs, "one_batch": (batch for batch in itertools.repeat(next(photographs)))}
        rates: dict[str, list[float]] = {kind: [] for kind in feeds}
        for _, (kind, batches) in itertools.product(range(1 + setting["turns"]), feeds.items()):
            for _ in range(ahead if kind == "photographs" else 0):
                next(batches)
            start = time.perf_counter()
            feed = devices.feed(lambda batches=batches: batches)
            networks.training_model.fit(feed, steps_per_epoch=steps, verbose=0, shuffle=False)
            rates[kind].append(steps * recipe.batch_size / (time.perf_counter() - start))
    ratios = [read / repeated for read, repeated in zip(*(each[1:] for each in rates.values()), strict=True)]
    medians = {f"{kind}_a_second": statistics.median(each[1:]) for kind, each in rates.items()}
    return {**medians, "share": statistics.median(ratios)}


SUBJECTS = {f"keras_resnet, {name}": Subject(measure, name) for name in backend.BACKENDS}


def main() -> int:
    parser = harness.options(__doc__, SUBJECTS)
    parser.add_argument("dataset", nargs="?", help="folder:PATH, or the name of a tensorflow-datasets data set")
    parser.add_argument("--data-dir", metavar="FOLDER")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=0, help="number of decoding processes; 0 for threads")
    parser.add_argument("--steps", type=int, default=20, help="training steps per turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.set_defaults(rounds=1)
    arguments = harness.parse(parser, SUBJECTS)
    if not arguments.dataset:
        parser.error("a data set is required, such as folder:photos")
    from keras_resnet.models.catalog import find

    case = {"model": arguments.model, "depth": find(arguments.model).spec.depth, "batch": arguments.batch_size}
    case |= {"image_size": arguments.size, "precision": arguments.precision}
    names = ("dataset", "data_dir", "workers", "steps", "turns", *CHOICES)
    harness.measure(SUBJECTS, arguments, case, **{name: getattr(arguments, name) for name in names})
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
