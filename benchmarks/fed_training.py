"""Images a second of training on photographs, beside the same training on one batch over and over: what reading costs.

    python benchmarks/fed_training.py imagenet2012 [--data-dir FOLDER] [--precision mixed_bfloat16] [--json FILE]

Both go through the run's own feed, network and `fit`, in turns, in one process; of these turns, medians are told, and
that of the ratios. What was read ahead during a turn of the other kind is no part of a turn on photographs; let
`--steps` be many more than there are readers, and one more, who are as many batches ahead.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import time

import harness
from harness import Setting, Subject
from keras_resnet import backend

CHOICES = ("model", "batch_size", "precision", "size")


def fed(setting: Setting) -> dict[str, float]:
    """Training of both kinds; the first turn, which compiles, does not count."""
    harness.as_the_command()
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
        read = Feed(recipe, data, devices, machine).training_batches(0, 0)
        feeds = {"photographs": read, "one_batch": (batch for batch in itertools.repeat(next(read)))}
        rates: dict[str, list[float]] = {way: [] for way in feeds}
        for _, (way, batches) in itertools.product(range(1 + setting["turns"]), feeds.items()):
            for _ in range(ahead if way == "photographs" else 0):
                next(batches)
            begun = time.perf_counter()
            given = devices.feed(lambda batches=batches: batches)
            networks.training_model.fit(given, steps_per_epoch=steps, verbose=0, shuffle=False)
            rates[way].append(steps * recipe.batch_size / (time.perf_counter() - begun))
    ratios = [own / other for own, other in zip(*(each[1:] for each in rates.values()), strict=True)]
    medians = {f"{way}_a_second": statistics.median(each[1:]) for way, each in rates.items()}
    return {**medians, "share": statistics.median(ratios)}


SUBJECTS = {f"keras_resnet, {name}": Subject(fed, name) for name in ("tensorflow", "jax", "torch")}


def main() -> int:
    parser = harness.options(__doc__, SUBJECTS)
    parser.add_argument("dataset", nargs="?", help="folder:PATH, or a set of tensorflow-datasets")
    parser.add_argument("--data-dir", metavar="FOLDER")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=0, help="processes that decode; 0: threads")
    parser.add_argument("--steps", type=int, default=20, help="a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.set_defaults(rounds=1)
    arguments = harness.parse(parser, SUBJECTS)
    if not arguments.dataset:
        parser.error("name a data set, such as folder:photos")
    from keras_resnet.models.catalog import find

    case = {"model": arguments.model, "depth": find(arguments.model).respec().depth, "batch": arguments.batch_size}
    case |= {"image_size": arguments.size, "precision": arguments.precision}
    told = {name: getattr(arguments, name) for name in ("dataset", "data_dir", "workers", "steps", "turns", *CHOICES)}
    harness.look_at(SUBJECTS, arguments, case, **told)
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
