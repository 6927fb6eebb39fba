"""`keras-resnet convert`: weights of others."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from .. import backend
from ..models.spec import Spec
from ..options import add_options, given, per_channel
from .common import NETWORK, Commands, backend_option, lines_of


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "convert",
        run,
        "Converts weights of keras.applications' ResNets (ImageNet's, or a file of yours), from the Hugging Face hub, "
        "torchvision or timm; or to torchvision.",
        "convert hf://timm/resnet18.a1_in1k resnet18.keras --model resnet18",
    )
    parser.add_argument(
        "source",
        help="imagenet, hf://OWNER/NAME, a run folder, or a .keras, .h5, .safetensors, .pth, .th, .bin file",
    )
    parser.add_argument(
        "out", metavar="OUT", help="the file to write: .keras; with --to torchvision .pth, .safetensors"
    )
    parser.add_argument("--model", metavar="NAME", help="the network, such as resnet50 [the one that SOURCE names]")
    parser.add_argument("--to", choices=("keras", "torchvision"), default="keras", help="what OUT is for [keras]")
    parser.add_argument(
        "--labels", metavar="NAME", help="the classes: imagenet, cifar10, cifar100, or a text file with a name a line"
    )
    for name in ("mean", "deviation"):
        parser.add_argument(
            f"--{name}",
            type=per_channel,
            metavar="R,G,B",
            help=f"{name} of the images trained on, as of pixels from 0 to 1 [SOURCE's, else ImageNet's for torch's]",
        )
    backend_option(parser)
    add_options(parser.add_argument_group(NETWORK), Spec, defaults=False)


def run(arguments: argparse.Namespace) -> int:
    backend.select_backend(arguments.backend)
    from ..weights.conversion import convert

    names = arguments.labels
    if names and Path(names).is_file():
        names = lines_of(names)
    with contextlib.redirect_stdout(sys.stderr):  # on which Keras tells the progress of its downloads
        report = convert(
            arguments.source,
            arguments.out,
            arguments.model,
            to=arguments.to,
            class_labels=names,
            mean=arguments.mean,
            deviation=arguments.deviation,
            **given(arguments, Spec),
        )
    if arguments.json:
        print(json.dumps(report, indent=2))
        return 0
    print(
        f"{report['model']}: {report['tensors']} tensors of {report['source']}, all used, none missing; "
        f"{report['parameters']:,} parameters, {report['classes']:,} classes"
        f"{'' if report['labels'] else ' without names'}"
    )
    known = report["normalization"]
    if known is None:
        takes = "images that are normalised as the weights' author did; nothing is known of that"
    else:
        told = f"subtract {known['mean']}" + (f", divide by {known['deviation']}" if "deviation" in known else "")
        inside = arguments.to == "keras"
        takes = f"raw RGB images of 0 to 255 ({told})" if inside else f"RGB images of 0 to 255, normalised: {told}"
    print(f"{report['out']} takes {takes}")
    return 0
