"""`keras-resnet analyze`: inside networks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .. import backend
from ..analysis.analyses import ANALYSES, tool
from ..models.spec import Spec
from ..options import add_options, given, positive, random_seed
from .common import DATASET, Commands, backend_option, help_of, verbose


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "analyze",
        run,
        "Looks into networks, beside one another.",
        "analyze responses runs/cifar10-plainnet56 runs/cifar10-resnet56 cifar10\n\n"
        + "\n".join(f"{name:13}{kind.what} ({kind.source})" for name, kind in ANALYSES.items()),
    )
    parser.add_argument("what", choices=ANALYSES, metavar="WHAT", help=", ".join(ANALYSES))
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a .keras file, a run folder, or the name of a network, to look at it as it begins",
    )
    parser.add_argument("dataset", metavar="DATASET", help=DATASET)
    parser.add_argument("--data-dir", metavar="FOLDER", help=help_of("data_dir"))
    parser.add_argument(
        "--images",
        type=positive,
        metavar="N",
        help=f"test images to look with [{', '.join(f'{name} {kind.images}' for name, kind in ANALYSES.items())}]",
    )
    parser.add_argument(
        "--seed",
        type=random_seed,
        default=0,
        metavar="N",
        help="of what is drawn at random, named networks among it [0]",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="where numbers and picture go [analysis/DATASET... beside the first model]"
    )
    backend_option(parser)
    add_options(parser.add_argument_group("what differs from networks that are named"), Spec, defaults=False)


def run(arguments: argparse.Namespace) -> int:
    backend.select_backend(arguments.backend)
    from ..analysis.report import default_folder, write_report

    report = _look(arguments)
    if arguments.json:
        print(json.dumps(report, indent=2), flush=True)
    else:
        look = tool(arguments.what)
        print(
            "\n".join(f"{name}: {look.summary_line(found)}" for name, found in report["networks"].items()), flush=True
        )
    folder = Path(arguments.out or default_folder(arguments.models[0], report, arguments.images))
    files = write_report(report, folder)  # behind the result, which stays told if the folder cannot be written
    if not arguments.json:
        print(f"Look at {folder}/: {', '.join(path.name for path in files)}")
    return 0


def _look(arguments: argparse.Namespace) -> dict[str, Any]:
    """Looks into every network; returns what `write_report` takes."""
    from ..analysis.inputs import batches_for, network
    from ..data import load

    name, kind, choices, found = arguments.what, ANALYSES[arguments.what], given(arguments, Spec), {}
    data, images = load(arguments.dataset, arguments.data_dir), arguments.images or kind.images
    seed = {"seed": arguments.seed} if kind.random else {}
    for path in arguments.models:
        title, model, info = network(path, data, choices, arguments.seed)
        batches = batches_for(model, info, data, images, labels=kind.labels)
        found[title] = getattr(tool(name), name)(model, batches, verbose=verbose(arguments), **seed)
    return {
        "analysis": name,
        "dataset": arguments.dataset,
        "images": min(images, data.test_count),
        "seed": arguments.seed,
        "choices": choices,
        "networks": found,
    }
