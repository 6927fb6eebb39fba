"""`keras-resnet train`: one training run."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from .. import backend
from ..data import short_name
from ..files import json_text
from ..models.spec import Spec
from ..options import add_options, file_name, given_fields
from ..status import Status
from ..training.errors import DivergedError
from ..training.interruption import NOT_BEGUN, stop_request
from ..training.machine import Machine
from ..training.recipe import Recipe
from ..training.recipes import RECIPES, STREAM_RECIPES, recipe_for
from .common import DATASET, NETWORK, Commands, backend_option, say


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "train",
        run,
        "Trains a network; resumes where it stopped when run again with the same folder.",
        "train cifar10 --model resnet56 --shortcut A --out runs/resnet56",
    )
    parser.add_argument("dataset", nargs="?", metavar="DATASET", help=f"{DATASET} [the one in the file of --recipe]")
    parser.add_argument("--out", type=file_name, metavar="FOLDER", help="folder of the run [runs/DATASET-MODEL]")
    parser.add_argument(
        "--recipe",
        type=file_name,
        metavar="NAME",
        help=f"{', '.join({**STREAM_RECIPES, **RECIPES})}, or a recipe.json; the options below change single values "
        "of it [finetune with --weights, else paper]",
    )
    backend_option(parser)
    add_options(parser.add_argument_group("recipe"), Recipe)
    add_options(parser.add_argument_group(NETWORK), Spec, defaults=False)
    add_options(parser.add_argument_group("machine (does not affect the result)"), Machine)


def run(arguments: argparse.Namespace) -> int:
    machine = Machine(**given_fields(arguments, Machine))
    recipe = recipe_for(
        arguments.recipe, run=arguments.out, **given_fields(arguments, Recipe), network=given_fields(arguments, Spec)
    )
    out = Path(arguments.out or f"runs/{short_name(recipe.dataset)}-{recipe.model}")
    with stop_request() as stop, stop.at_once(NOT_BEGUN):  # the import may take long, as from a network's file system
        backend.select_backend(arguments.backend)
        from ..training.run import train

    try:
        # Keras prints its progress to stdout, which must hold nothing but the summary with --json.
        with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
            summary = train(recipe, out, say, machine)
    except DivergedError as error:
        print(f"keras-resnet: training diverged: {error}. {_remedy(out, error.probe)}", file=sys.stderr)
        return Status.DIVERGED
    except KeyboardInterrupt:
        print(
            f"\nkeras-resnet: stopped. Run the same command again to resume from the last checkpoint in {out}.",
            file=sys.stderr,
        )
        return Status.INTERRUPTED
    except BrokenPipeError:  # unlike a result that nobody reads, this leaves a run that has not finished
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ValueError(
            f"The reader of the run's progress has ended. Run the same command again to resume from the last "
            f"checkpoint in {out}."
        ) from None
    if backend.chief():
        print(json_text(summary) if arguments.json else _summary_text(summary, recipe, out))
    return Status.DONE


def _remedy(out: Path, probe: bool) -> str:
    """Returns the advice after a training that diverged, in its probe or after it."""
    from ..training.folder import RunFolder
    from ..training.transfer import PROBE

    folder, rate = (out / PROBE, "--probe-rate") if probe else (out, "--learning-rate")
    checkpoints = RunFolder(folder).newest_first()
    last = f"The last good checkpoint is {checkpoints[0]}. " if checkpoints else ""
    return f"{last}A lower {rate}{' and another --out' if checkpoints else ''} often helps."


def _summary_text(summary: dict[str, Any], recipe: Recipe, out: Path) -> str:
    """Returns the result of a run, its most useful files, and commands to try next."""
    split, command = "validation" if "validation_error" in summary else "test", _command_name()
    probe = summary.get(f"probe_{split}_error")
    probe_line = "" if probe is None else f"{probe:.2f} % after the probe that preceded them\n"
    family = "resnet" if recipe.spec.shortcut is None else "plainnet"
    other = f"{family}{56 if recipe.spec.stem == 'cifar' else 34}"
    lesson = "to see what shortcuts change" if family == "resnet" else "to see how depth fails without shortcuts"
    data = shlex.quote(recipe.dataset) + (f" --data-dir {shlex.quote(recipe.data_dir)}" if recipe.data_dir else "")
    run_folder = shlex.quote(str(out))
    last = f"train {data} --model {other} --epochs {summary['epochs']}    {lesson}"
    if recipe.weights:  # a network that begins at random would not be comparable
        last = f"predict {run_folder} IMAGE --explain FOLDER    to see the evidence for its class"
    return (
        f"\n{recipe.title} on {recipe.dataset}: {summary[f'{split}_error']:.2f} % {split} error after the last of "
        f"{summary['epochs']} epochs ({summary['seconds']:.0f} s, {summary['parameters']:,} parameters)\n"
        f"{probe_line}\n"
        f"Look at   {out}/curves.png     error, loss and learning rate\n"
        f"          {out}/history.csv    one row per epoch\n"
        f"          {out}/model.keras    the trained network, for raw images of 0 to 255\n"
        f"Try       {command} evaluate {run_folder} {data}\n"
        f"          {command} predict {run_folder} IMAGE\n"
        f"          {command} {last}"
    )


def _command_name() -> str:
    """Returns what the user types to call the command again: its path if it is not on the shell's search path."""
    name = "keras-resnet"
    program = Path(sys.argv[0])
    return shlex.quote(str(program)) if program.name == name and not shutil.which(name) else name
