"""`keras-resnet features`: feature vectors of images."""

from __future__ import annotations

import argparse
import sys

from .. import backend, saving
from ..files import json_text, unwinding_at_sigterm
from ..options import file_name
from ..status import Status
from .common import MODEL, SOURCE, Commands, backend_option, verbose


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "features",
        run,
        "Writes the feature vectors that a network computes from images to an array or a table.",
        "features runs/photos-resnet18 photos/ photos.parquet --taps stage4,pooled",
    )
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument("source", type=file_name, metavar="SOURCE", help=SOURCE)
    parser.add_argument("out", metavar="OUT", help="the file to write: .npy, .npz or .parquet")
    parser.add_argument(
        "--taps",
        metavar="NAME,NAME",
        help="outputs to write: stem, stage1, ..., features, pooled, logits; maps are averaged over their positions "
        "[pooled, or features for a network without a top]",
    )
    backend_option(parser)


def run(arguments: argparse.Namespace) -> int:
    backend.select_backend(arguments.backend)
    from ..evaluation.extraction import extract

    model, info = saving.load(arguments.model)
    taps = None if arguments.taps is None else tuple(arguments.taps.split(","))
    with unwinding_at_sigterm():
        report = extract(model, arguments.source, arguments.out, taps, info.get("view"), verbose=verbose(arguments))
    for error in report["errors"]:
        print(f"keras-resnet: error: {error}", file=sys.stderr)
    if arguments.json:
        print(json_text(report))
    else:
        lengths = ", ".join(f"{length:,} of {name}" for name, length in report["features"].items())
        print(f"{report['images']:,} images, {lengths}: {report['out']}")
    return Status.MISTAKE if report["errors"] else Status.DONE
