"""`keras-resnet export`: networks in formats for serving."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from .. import backend
from ..exporting.choices import Choices
from ..files import json_text, unwinding_at_sigterm
from ..options import add_options, file_name, given_fields
from ..status import Status
from .common import MODEL, Commands, lines_of, say


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "export",
        run,
        "Exports a network for serving: as a SavedModel for TensorFlow Serving, or as ONNX, LiteRT or OpenVINO.",
        "export runs/cifar10-resnet20 served/resnet20",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument(
        "out", type=file_name, metavar="OUT", help="folder of all versions: OUT/1, then OUT/2 with the next export"
    )
    parser.add_argument(
        "--labels", metavar="FILE", help="a text file with one class name per line [the names stored in MODEL]"
    )
    add_options(parser, Choices)


def run(arguments: argparse.Namespace) -> int:
    if "keras" not in sys.modules:  # if Keras already runs on another backend, `export` starts a TensorFlow process
        backend.select_backend("tensorflow")
    from ..exporting.export import export

    labels = lines_of(arguments.labels) if arguments.labels else None
    with unwinding_at_sigterm():
        card = export(arguments.model, arguments.out, class_names=labels, say=say, **given_fields(arguments, Choices))
    if arguments.json:
        print(json_text(card))
        return Status.DONE
    print(f"{card['network']}: {card['parameters']:,} parameters, {card['classes']:,} classes")
    if errors := (card["int8"] or {}).get("errors"):
        print(f"{card['measure']}: {errors['int8']:.2f} % error in int8, {errors['float32']:.2f} % in float32")
    print(f"Written to {card['out']}/; see README.md there.")
    if card["format"] == "saved_model":
        folder = shlex.quote(str(Path(card["out"]).parent.resolve()))
        print(f"Serve it with tensorflow_model_server --model_base_path={folder}")
    return Status.DONE
