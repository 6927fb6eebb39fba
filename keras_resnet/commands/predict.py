"""`keras-resnet predict`: the most probable classes of images."""

from __future__ import annotations

import argparse
import sys

from .. import backend, saving
from ..files import json_text
from ..options import file_name, positive
from ..status import Status
from .common import MODEL, SOURCE, Commands, backend_option, verbose


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "predict",
        run,
        "Prints the most probable classes of an image, of every image in a folder, or of every image in a .npy file.",
        "predict runs/cifar10-resnet20 photo.jpg --top 3",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("source", type=file_name, metavar="SOURCE", help=SOURCE)
    parser.add_argument("--top", type=positive, default=5, metavar="N", help="number of classes to print [5]")
    parser.add_argument(
        "--explain",
        type=file_name,
        metavar="FOLDER",
        help="folder for a picture of each image with the regions that speak for its class (Grad-CAM)",
    )
    backend_option(parser)


def run(arguments: argparse.Namespace) -> int:
    backend.select_backend(arguments.backend)
    from ..evaluation.prediction import predict

    model, info = saving.load(arguments.model)
    results = predict(
        model,
        arguments.source,
        info.get("class_names"),
        arguments.top,
        info.get("view"),
        arguments.explain,
        verbose=verbose(arguments),
    )
    if arguments.json:
        print(json_text(results))
    for result in results:
        if "error" in result:
            print(f"keras-resnet: error: {result['error']}", file=sys.stderr)
        elif not arguments.json:
            classes = ", ".join(f"{row['name']} {100 * row['probability']:.1f} %" for row in result["classes"])
            print(f"{result['image']}: {classes}")
    return Status.MISTAKE if any("error" in result for result in results) else Status.DONE
