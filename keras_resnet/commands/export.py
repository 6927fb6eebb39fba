"""`keras-resnet export`: a network for those who serve it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .. import backend
from ..exporting.choices import Choices
from ..options import add_options, given
from .common import Commands, lines_of


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "export",
        run,
        "Writes a network as a SavedModel for TensorFlow Serving, which takes image files and names their classes.",
        "export runs/cifar10-resnet20 served/resnet20",
    )
    parser.add_argument("model", help="a .keras file or a run folder")
    parser.add_argument("out", metavar="OUT", help="where versions go: OUT/1, by the next call OUT/2")
    parser.add_argument("--labels", metavar="FILE", help="a text file with a class's name a line [what MODEL says]")
    add_options(parser, Choices)


def run(arguments: argparse.Namespace) -> int:
    if "keras" not in sys.modules:  # on another backend, `export` has a process on TensorFlow do it
        backend.select_backend("tensorflow")
    from ..exporting.export import export

    labels = lines_of(arguments.labels) if arguments.labels else None
    card = export(arguments.model, arguments.out, class_names=labels, say=_say, **given(arguments, Choices))
    if arguments.json:
        print(json.dumps(card, indent=2))
        return 0
    print(f"{card['network']}: {card['parameters']:,} parameters, {card['classes']:,} classes")
    if errors := (card["int8"] or {}).get("errors"):
        print(f"{card['measure']}: {errors['int8']:.2f} % error in 8-bit numbers, {errors['float32']:.2f} % in float32")
    served = f" It is served by tensorflow_model_server --model_base_path={Path(arguments.out).resolve()}"
    print(f"Look at {card['out']}/README.md.{served if card['format'] == 'saved_model' else ''}")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
