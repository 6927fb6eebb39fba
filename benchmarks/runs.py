"""Time and final test error of entire training runs: this package's, and those of a plain PyTorch script.

    python benchmarks/runs.py cifar10 --recipe speedrun --rounds 10 --only "keras_resnet, jax" [--data-dir FOLDER]
    python benchmarks/runs.py cifar10 [--epochs 2] [--model resnet56] [--images-on-device] [--steps-per-execution 30]

Each run is a process of its own, and each round has its own seed, counted from `--first-seed`. The seconds are those of
training without tests. For the seconds without compilation, the first epoch is counted at the median of the others,
which takes at least two epochs. For the "mirrored" test error, the probabilities of each image and its mirror image are
averaged. The script supports the papers' recipe for CIFAR networks; for anything else it is skipped.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from keras_resnet.backend import BACKENDS
from torch_peers import plain_run
from workers import Setting, Subject, start_as_command

if TYPE_CHECKING:
    from keras_resnet.training.recipe import Recipe

CHOICES = ("data_dir", "model", "epochs", "images", "precision", "optimizer", "kernel_rate")
MACHINE = ("images_on_device", "steps_per_execution")


def recipe_of(setting: Setting) -> Recipe:
    """Recipe of the run; the number of the round is its seed."""
    from keras_resnet.training.recipes import recipe_for

    choices = {name: setting[name] for name in CHOICES if setting[name] is not None}
    return recipe_for(setting["recipe"], dataset=setting["dataset"], seed=setting.get("round", 0), **choices)


def ours(setting: Setting) -> dict[str, float]:
    """Trains as the `keras-resnet train` command does."""
    start_as_command()
    from keras_resnet.evaluation.evaluate import evaluate
    from keras_resnet.evaluation.views import Views
    from keras_resnet.tables import read_csv
    from keras_resnet.training.machine import Machine
    from keras_resnet.training.run import train

    machine, recipe = Machine(**{name: setting[name] for name in MACHINE}), recipe_of(setting)
    with tempfile.TemporaryDirectory() as folder:
        summary = train(recipe, folder, machine=machine)
        seconds = [row["seconds"] for row in read_csv(Path(folder, "history.csv"), "Run it again.")]
        mirrored = evaluate([folder], recipe.dataset, recipe.data_dir, views=Views(mirror=True)).result
    return {**figures(summary["test_error"], seconds), "mirrored_test_error": mirrored["error"]}


def plain(setting: Setting) -> dict[str, float]:
    """Trains by the plain PyTorch script."""
    from keras_resnet.data import load

    recipe = recipe_of(setting)
    data = load(recipe.dataset, recipe.data_dir)
    return figures(*plain_run(recipe, data.take(recipe.images) if recipe.images else data, setting["peers"]))


def figures(error: float, seconds: list[float]) -> dict[str, float]:
    """Figures of a run, from its test error in percent and the seconds of each epoch."""
    first, *others = seconds
    without = {"seconds_without_compilation": statistics.median(others) + sum(others)} if others else {}
    return {"test_error": error, "seconds": first + sum(others), **without}


SUBJECTS = {
    **{f"keras_resnet, {name}": Subject(ours, name) for name in BACKENDS},
    "PyTorch, a plain script": Subject(plain, "torch"),
}


def main() -> int:
    parser = harness.options(__doc__, SUBJECTS)
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--data-dir", metavar="FOLDER")
    parser.add_argument("--recipe", default="paper")
    parser.add_argument("--model")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--images", type=int, help="number of training images to use")
    parser.add_argument("--precision")
    parser.add_argument("--optimizer")
    parser.add_argument("--kernel-rate", type=float)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images-on-device", action="store_true")
    parser.add_argument("--steps-per-execution", type=int, default=1)
    parser.set_defaults(rounds=1)
    arguments = harness.parse(parser, SUBJECTS)
    if not arguments.dataset:
        parser.error("a data set is required, such as cifar10")
    options = {name: getattr(arguments, name) for name in ("dataset", "recipe", *CHOICES, *MACHINE)}
    recipe = recipe_of(options)
    length = f"{recipe.epochs} epochs" if recipe.epochs else f"{recipe.iterations:,} iterations"
    images = f"{recipe.images:,} images of " if recipe.images else ""
    case = {"model": recipe.title, "depth": recipe.spec.depth, "precision": recipe.precision}
    extras = " by muon" if recipe.optimizer == "muon" else ""
    extras += "; ours with images on the device" if arguments.images_on_device else ""
    extras += f"; ours {at_once} steps at once" if (at_once := arguments.steps_per_execution) > 1 else ""
    case |= {"batch": recipe.batch_size, "recipe": f"{arguments.recipe}, {length} of {images}{recipe.dataset}{extras}"}
    harness.measure(SUBJECTS, arguments, case, first=arguments.first_seed, **options)
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
