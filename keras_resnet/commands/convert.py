"""`keras-resnet convert`: pretrained weights from other packages, and to torchvision and timm."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import Any

from .. import backend
from ..files import json_text, unwinding_at_sigterm
from ..models.spec import Spec
from ..options import add_options, converter, given_fields
from ..status import Status
from .common import NETWORK, Commands, backend_option, lines_of


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "convert",
        run,
        "Converts weights of keras.applications, torchvision or timm to a .keras file, or a network to the latter two.",
        "convert hf://timm/resnet18.a1_in1k resnet18.keras --model resnet18",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="imagenet, hf://OWNER/NAME, a run folder, or .keras, .h5, .safetensors, .pth, .th, .bin, .tar, .ckpt",
    )
    parser.add_argument(
        "out", metavar="OUT", help="the file to write: .keras, or with --to torchvision or timm .pth or .safetensors"
    )
    parser.add_argument("--model", metavar="NAME", help="the network, such as resnet50 [the one named in SOURCE]")
    parser.add_argument("--to", choices=("keras", "torchvision", "timm"), default="keras", help="format of OUT [keras]")
    parser.add_argument(
        "--labels",
        metavar="NAME",
        help="class names: imagenet, cifar10, cifar100, or a text file with one name per line",
    )
    for name, description in (("mean", "mean"), ("deviation", "standard deviation")):
        parser.add_argument(
            f"--{name}",
            type=converter(tuple[float, ...]),
            metavar="R,G,B",
            help=f"{description} of SOURCE's training images, for pixels scaled to 0..1 [as stored with SOURCE, else "
            "the usual one for PyTorch weights]",
        )
    backend_option(parser)
    add_options(parser.add_argument_group(NETWORK), Spec, defaults=False)


def run(arguments: argparse.Namespace) -> int:
    backend.select_backend(arguments.backend)
    from ..weights.conversion import convert

    names = arguments.labels
    if names and Path(names).is_file():
        names = lines_of(names)
    # Keras prints the progress of its downloads to stdout, which is for the result.
    with unwinding_at_sigterm(), contextlib.redirect_stdout(sys.stderr):
        report = convert(
            arguments.source,
            arguments.out,
            arguments.model,
            to=arguments.to,
            class_labels=names,
            mean=arguments.mean,
            deviation=arguments.deviation,
            **given_fields(arguments, Spec),
        )
    if arguments.json:
        print(json_text(report))
        return Status.DONE
    print(
        f"{report['model']}: {report['tensors']} tensors of {report['source']}, all used, none missing; "
        f"{report['parameters']:,} parameters, {report['classes']:,} classes"
        f"{'' if report['labels'] else ' without names'}"
    )
    takes = _images_taken(report["normalization"], report["channels"], normalises=arguments.to == "keras")
    print(f"{report['out']} takes {takes}")
    return Status.DONE


def _images_taken(normalization: dict[str, Any] | None, channels: int, *, normalises: bool) -> str:
    """Describes the images that a converted network takes, depending on whether it normalises them itself."""
    if normalization is None:
        return "images normalised as in the training of the weights, which is not known (see --mean, --deviation)"
    kind = {1: "grey", 3: "RGB"}.get(channels, f"{channels}-channel")
    images = f"{kind} images of 0 to 255"
    formula = f"subtract {normalization['mean']}"
    if "deviation" in normalization:
        formula += f", divide by {normalization['deviation']}"
    return f"raw {images} ({formula})" if normalises else f"{images}, normalised: {formula}"
