"""`keras-resnet analyze`: a look inside networks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import backend
from ..analysis.analyses import ANALYSES, module_of
from ..files import json_text
from ..models.spec import Spec
from ..options import add_options, file_name, given_fields, positive, random_seed
from ..status import Status
from .common import DATASET, Commands, backend_option, data_dir_option, naming_out, verbose


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "analyze",
        run,
        "Looks inside networks and compares them: one line each, the numbers as JSON, and a picture.",
        "analyze responses runs/cifar10-plainnet56 runs/cifar10-resnet56 cifar10\n\nanalyses:\n"
        + "\n".join(f"  {name:13}{kind.what} ({kind.source})" for name, kind in ANALYSES.items()),
    )
    parser.add_argument("what", choices=ANALYSES, metavar="WHAT", help=f"{', '.join(ANALYSES)} (explained below)")
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a .keras file, a run folder, or the name of a network, which is then analysed untrained",
    )
    parser.add_argument("dataset", metavar="DATASET", help=DATASET)
    data_dir_option(parser)
    parser.add_argument(
        "--images",
        type=positive,
        metavar="N",
        help=f"number of test images [{', '.join(f'{name} {kind.images}' for name, kind in ANALYSES.items())}]",
    )
    parser.add_argument(
        "--seed",
        type=random_seed,
        default=0,
        metavar="N",
        help="random seed, also of the weights of networks given by name [0]",
    )
    parser.add_argument(
        "--out",
        type=file_name,
        metavar="FOLDER",
        help="folder for the numbers and the picture [analysis/DATASET... next to the first model]",
    )
    backend_option(parser)
    add_options(parser.add_argument_group("changes to networks given by name"), Spec, defaults=False)


def run(arguments: argparse.Namespace) -> int:
    backend.select_backend(arguments.backend)
    from ..analysis.report import default_folder, write_report

    report = _analyze(arguments)
    if arguments.json:
        print(json_text(report), flush=True)
    else:
        summary_line = module_of(arguments.what).summary_line
        for title, result in report["networks"].items():
            print(f"{title}: {summary_line(result)}", flush=True)
    folder = Path(arguments.out or default_folder(arguments.models[0], report, arguments.images))
    with naming_out(arguments):
        files = write_report(report, folder)  # after printing, so that the result is not lost if writing fails
    if not arguments.json:
        print(f"Written to {folder}/: {', '.join(path.name for path in files)}")
    return Status.DONE


def _analyze(arguments: argparse.Namespace) -> dict[str, Any]:
    """Analyses the networks, none unless all can be analysed; returns the report for `write_report`."""
    from ..analysis.inputs import batches_for, check_name, check_network, network
    from ..data import load

    name, kind, choices = arguments.what, ANALYSES[arguments.what], given_fields(arguments, Spec)
    for model_name in arguments.models:
        check_name(model_name, choices, shortcuts=kind.shortcuts)
    data, images = load(arguments.dataset, arguments.data_dir), arguments.images or kind.images
    seed = {"seed": arguments.seed} if kind.random else {}
    inputs = {}
    for model_name in arguments.models:
        title, model, info = network(model_name, data, choices, arguments.seed)
        check_network(title, model, kind)
        inputs[title] = model, batches_for(model, info, data, images, labels=kind.labels)
    analysis = getattr(module_of(name), name)
    results = {
        title: analysis(model, batches, verbose=verbose(arguments), **seed)
        for title, (model, batches) in inputs.items()
    }
    return {
        "analysis": name,
        "dataset": arguments.dataset,
        "images": min(images, data.test_count),
        "seed": arguments.seed,
        "choices": choices,
        "networks": results,
    }
