"""Images a second of training on photographs, beside the same training on one batch over and over: what reading costs.

    KERAS_BACKEND=jax python benchmarks/fed_training.py imagenet2012 [--data-dir FOLDER] [--precision mixed_bfloat16]

Both go through the run's own feed, network and `fit`, in turns, round by round; medians and their ratio are printed.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path

from keras_resnet import backend


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder:PATH, or a set of tensorflow-datasets")
    parser.add_argument("--data-dir", metavar="FOLDER")
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=0, help="processes that decode; 0: threads")
    parser.add_argument("--steps", type=int, default=20, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE", help="where to write the result")
    arguments = parser.parse_args()
    name = backend.settle()

    from keras_resnet.data import load, steps_per_epoch
    from keras_resnet.saving import write_json
    from keras_resnet.training.compiled import build
    from keras_resnet.training.feed import Feed
    from keras_resnet.training.machine import Machine
    from keras_resnet.training.recipes import recipe_for

    case = {key: getattr(arguments, key) for key in ("model", "batch_size", "precision", "size")}
    recipe = recipe_for("paper", dataset=arguments.dataset, data_dir=arguments.data_dir, **case)
    data = load(recipe.dataset, recipe.data_dir)
    recipe = recipe.resolve(steps_per_epoch(data.train_count, recipe.batch_size), data.defaults(recipe.size))
    devices, machine = backend.devices(), Machine(workers=arguments.workers)
    with devices.scope():
        networks = build(recipe, data, machine)
        devices.prepare(networks.kept, networks.fitted)
        feed = Feed(recipe, data, devices, machine)
        read = feed.training(0, 0)
        feeds = {"photographs": read, "one batch": (batch for batch in itertools.repeat(next(read)))}
        seconds: dict[str, list[float]] = {way: [] for way in feeds}
        for _, (way, batches) in itertools.product(range(1 + arguments.rounds), feeds.items()):
            begun = time.perf_counter()
            networks.fitted.fit(
                devices.feed(lambda batches=batches: batches), steps_per_epoch=arguments.steps, verbose=0, shuffle=False
            )
            seconds[way].append(time.perf_counter() - begun)
    images = arguments.steps * recipe.batch_size
    rates = {way: [images / each for each in times[1:]] for way, times in seconds.items()}  # the first compiles
    medians = {way: round(statistics.median(each), 1) for way, each in rates.items()}
    ratio = round(statistics.median(a / b for a, b in zip(*rates.values(), strict=True)), 3)
    print(f"{case}, {name}, {backend.device()}")
    for way, each in rates.items():
        print(f"{way:12}{medians[way]:10.1f} images/s   ({min(each):.1f} to {max(each):.1f})")
    print(f"{'ratio':12}{ratio:10.3f}")
    if arguments.json:
        about = {"dataset": recipe.dataset, **case, "workers": arguments.workers, "backend": name}
        about |= {"device": backend.device(), "versions": backend.versions()}
        write_json(Path(arguments.json), {**about, "images_per_second": medians, "ratio": ratio})


if __name__ == "__main__":
    main()
