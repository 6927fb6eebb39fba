"""`keras-resnet summary`: what each network is and costs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .. import backend
from ..analysis.summary import describe, table
from ..models.architectures import Architecture
from ..models.catalog import ARCHITECTURES, find
from ..models.spec import Spec
from ..options import add_options, given, positive
from .common import NETWORK, Commands, backend_option, verbose


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "summary",
        run,
        "Parameters, multiply-adds and layers of every network, or of some, beside what the papers print.",
        "summary resnet34 --shortcut C",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks, such as resnet50; all if none is named")
    parser.add_argument(
        "--classes", type=positive, metavar="N", help="classes [10 for CIFAR nets, 1000 for ImageNet's]"
    )
    parser.add_argument(
        "--image-size", type=positive, metavar="N", help="pixels [32 for CIFAR nets, 224 for ImageNet's]"
    )
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--latency", action="store_true", help="build each network, and time an image on this machine")
    backend_option(parser)
    add_options(parser.add_argument_group(NETWORK), Spec, defaults=False)


def run(arguments: argparse.Namespace) -> int:
    choices = given(arguments, Spec)
    networks = [find(name, choices.get("unit")) for name in arguments.names] or list(ARCHITECTURES.values())
    rows = [describe(network, choices, arguments.classes, arguments.image_size) for network in networks]
    if arguments.latency:
        backend.select_backend(arguments.backend)
        from tqdm import tqdm

        timed = tqdm(list(zip(networks, rows, strict=True)), "Timing", leave=False, disable=not verbose(arguments))
        for network, row in timed:
            row["latency"] = _latency(network, choices, arguments.classes, arguments.image_size)
    print(json.dumps(rows, indent=2) if arguments.json else table(rows, markdown=arguments.markdown))
    return 0


def _latency(network: Architecture, choices: dict[str, Any], classes: int | None, size: int | None) -> float:
    """Milliseconds an image."""
    import keras

    from ..evaluation.latency import latency

    shape = (size, size, 3) if size else None
    classes = classes or network.classes
    model = network(input_shape=shape, classes=classes, weights=None, data_format="channels_last", **choices)
    found = round(latency(model), 3)
    keras.utils.clear_session()  # of all networks, the largest must fit
    return found
