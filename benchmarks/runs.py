"""How long whole runs take, and how well they end: this package's, beside a plain script of PyTorch.

    python benchmarks/runs.py cifar10 --recipe speedrun --rounds 10 --only "keras_resnet, jax" [--data-dir FOLDER]
    python benchmarks/runs.py cifar10 [--epochs 2] [--model resnet56] [--images-on-device] [--steps-per-execution 30]

Each in a new process, and each round with a seed of its own, from `--first-seed` on. Seconds are those of training,
without tests; without compilation, the first epoch counts as long as the median of the others, which needs two epochs.
"Mirrored" is the test error where each image's mirror image counts as much. The script does what the papers' recipe
says of a CIFAR network; for others it is left out.
"""

from __future__ import annotations

import csv
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import harness
from harness import Setting, Subject
from torch_peers import plain_run

if TYPE_CHECKING:
    from keras_resnet.training.recipe import Recipe

CHOICES = ("data_dir", "model", "epochs", "images", "precision", "optimizer", "kernel_rate")
MACHINE = ("images_on_device", "steps_per_execution")


def recipe_of(setting: Setting) -> Recipe:
    """What is run."""
    from keras_resnet.training.recipes import recipe_for

    choices = {name: setting[name] for name in CHOICES if setting[name] is not None}
    return recipe_for(setting["recipe"], dataset=setting["dataset"], seed=setting.get("round", 0), **choices)


def ours(setting: Setting) -> dict[str, float]:
    """This package's run, as the command has it."""
    harness.as_the_command()
    from keras_resnet.evaluation.evaluate import View, evaluate
    from keras_resnet.training.machine import Machine
    from keras_resnet.training.run import train

    machine, recipe = Machine(**{name: setting[name] for name in MACHINE}), recipe_of(setting)
    with tempfile.TemporaryDirectory() as folder:
        summary = train(recipe, folder, machine=machine)
        with Path(folder, "history.csv").open(encoding="utf-8", newline="") as file:
            seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
        mirrored = evaluate([folder], recipe.dataset, recipe.data_dir, view=View(mirror=True)).result
    return {**figures(summary["test_error"], seconds), "mirrored_test_error": mirrored["error"]}


def plain(setting: Setting) -> dict[str, float]:
    """The script's."""
    from keras_resnet.data import load

    recipe = recipe_of(setting)
    data = load(recipe.dataset, recipe.data_dir)
    return figures(*plain_run(recipe, data.take(recipe.images) if recipe.images else data, setting["peers"]))


def figures(error: float, seconds: list[float]) -> dict[str, float]:
    """What is told of a run whose epochs took so long."""
    first, *others = seconds
    without = {"seconds_without_compilation": statistics.median(others) + sum(others)} if others else {}
    return {"test_error": error, "seconds": first + sum(others), **without}


SUBJECTS = {
    **{f"keras_resnet, {name}": Subject(ours, name) for name in ("tensorflow", "jax", "torch")},
    "PyTorch, a plain script": Subject(plain, "torch"),
}


def main() -> int:
    parser = harness.options(__doc__, SUBJECTS)
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--data-dir", metavar="FOLDER")
    parser.add_argument("--recipe", default="paper")
    parser.add_argument("--model")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--images", type=int, help="training images used")
    parser.add_argument("--precision")
    parser.add_argument("--optimizer")
    parser.add_argument("--kernel-rate", type=float)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--images-on-device", action="store_true")
    parser.add_argument("--steps-per-execution", type=int, default=1)
    parser.set_defaults(rounds=1)
    arguments = harness.parse(parser, SUBJECTS)
    if not arguments.dataset:
        parser.error("name a data set, such as cifar10")
    asked = {name: getattr(arguments, name) for name in ("dataset", "recipe", *CHOICES, *MACHINE)}
    recipe = recipe_of(asked)
    length = f"{recipe.epochs} epochs" if recipe.epochs else f"{recipe.iterations:,} iterations"
    images = f"{recipe.images:,} images of " if recipe.images else ""
    case = {"model": recipe.title, "depth": recipe.spec.depth, "precision": recipe.precision}
    way = " by muon" if recipe.optimizer == "muon" else ""
    way += "; ours with images on the device" if arguments.images_on_device else ""
    way += f"; ours {at_once} steps at once" if (at_once := arguments.steps_per_execution) > 1 else ""
    case |= {"batch": recipe.batch_size, "recipe": f"{arguments.recipe}, {length} of {images}{recipe.dataset}{way}"}
    harness.look_at(SUBJECTS, arguments, case, first=arguments.first_seed, **asked)
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
