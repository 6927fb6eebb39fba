"""`keras-resnet summary`: size and cost of each network."""

from __future__ import annotations

import argparse
from typing import Any

from .. import backend
from ..analysis.summary import describe, table
from ..files import json_text
from ..models.architectures import Architecture
from ..models.catalog import ARCHITECTURES, find
from ..models.spec import Spec
from ..options import add_options, given_fields, positive
from ..status import Status
from .common import NETWORK, Commands, backend_option, verbose


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "summary",
        run,
        "Lists parameters, multiply-adds and layers of all networks, or of some, next to the papers' numbers.",
        "summary resnet34 --shortcut C",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks, such as resnet50 [all]")
    parser.add_argument(
        "--classes", type=positive, metavar="N", help="number of classes [10 for CIFAR networks, 1000 for ImageNet's]"
    )
    parser.add_argument(
        "--image-size",
        type=positive,
        metavar="N",
        help="side of the images in pixels [32 for CIFAR networks, 224 for ImageNet's]",
    )
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument(
        "--latency", action="store_true", help="also build each network and time one image on this machine (ms)"
    )
    backend_option(parser)
    add_options(parser.add_argument_group(NETWORK), Spec, defaults=False)


def run(arguments: argparse.Namespace) -> int:
    choices = given_fields(arguments, Spec)
    networks = [find(name, choices.get("unit")) for name in arguments.names] or list(ARCHITECTURES.values())
    rows = [describe(network, choices, arguments.classes, arguments.image_size) for network in networks]
    if arguments.latency:
        backend.select_backend(arguments.backend)
        from tqdm import tqdm

        timed = tqdm(list(zip(networks, rows, strict=True)), "Timing", leave=False, disable=not verbose(arguments))
        for network, row in timed:
            row["latency"] = _latency(network, choices, arguments.classes, arguments.image_size)
    print(json_text(rows) if arguments.json else table(rows, markdown=arguments.markdown))
    return Status.DONE


def _latency(network: Architecture, choices: dict[str, Any], classes: int | None, size: int | None) -> float:
    """Returns the milliseconds that a network takes for one image."""
    import keras

    from ..evaluation.latency import latency

    shape = (size, size, 3) if size else None
    classes = classes or network.classes
    model = network(input_shape=shape, classes=classes, weights=None, data_format="channels_last", **choices)
    milliseconds = round(latency(model), 3)
    keras.utils.clear_session()  # so that memory need only hold one network at a time
    return milliseconds
