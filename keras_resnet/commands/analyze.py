"""`keras-resnet analyze`: inside networks."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

from .. import backend
from ..analysis.kinds import KINDS, tool
from ..models.spec import Spec
from ..options import add_options, given, positive, random_seed
from .common import DATASET, Commands, backend_option, help_of, verbose


def add(commands: Commands) -> None:
    """Says its options."""
    parser = commands.add(
        "analyze",
        run,
        "Looks into networks, beside one another.",
        "analyze responses runs/cifar10-plainnet56 runs/cifar10-resnet56 cifar10\n\n"
        + "\n".join(f"{name:13}{kind.what} ({kind.source})" for name, kind in KINDS.items()),
    )
    parser.add_argument("what", choices=KINDS, metavar="WHAT", help=", ".join(KINDS))
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
        help=f"test images to look with [{', '.join(f'{name} {kind.images}' for name, kind in KINDS.items())}]",
    )
    parser.add_argument(
        "--seed",
        type=random_seed,
        default=0,
        metavar="N",
        help="of what is drawn at random, named networks among it [0]",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="where numbers and picture go [analysis/ beside the first model]"
    )
    backend_option(parser)
    add_options(parser.add_argument_group("what differs from networks that are named"), Spec, defaults=False)


def run(arguments: argparse.Namespace) -> int:
    backend.settle(arguments.backend)
    from .. import saving
    from ..analysis.looking import batches_for, network
    from ..data import load

    name, kind, found = arguments.what, KINDS[arguments.what], {}
    look, data, seen = tool(name), load(arguments.dataset, arguments.data_dir), verbose(arguments)
    for path in arguments.models:
        model, info = network(path, data, given(arguments, Spec), arguments.seed)
        batches = batches_for(model, info, data, arguments.images or kind.images, labels=kind.labels)
        seed = {"seed": arguments.seed} if kind.random else {}
        found[path] = getattr(look, name)(model, batches, verbose=seen, **seed)
    if arguments.json:
        print(json.dumps(found, indent=2), flush=True)
    else:
        print("\n".join(f"{path}: {look.in_words(result)}" for path, result in found.items()), flush=True)
    folder = Path(arguments.out) if arguments.out else saving.model_file(arguments.models[0]).parent / "analysis"
    saving.write_json(folder / f"{name}.json", found)
    title = f"{kind.what}, on {arguments.dataset} ({kind.source})"
    saving.write_atomically(folder / f"{name}.png", partial(look.draw, found, title=title))
    if not arguments.json:
        print(f"Look at {folder}/: {name}.json, {name}.png")
    return 0
