"""`keras-resnet tune`: a search."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from .. import backend
from ..options import positive, random_seed
from ..status import Status
from ..training.interruption import StoppedError
from ..tuning.space import SPACES
from ..tuning.study import FIDELITIES, TUNERS, Study, study_of
from .common import DATASET, Commands, backend_option, help_of


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "tune",
        run,
        "Searches depth, width, shortcut and recipe with keras-tuner; run again with the same folder, goes on.",
        "tune digits --space shape --set learning_rate=0.01..0.3 --epochs 9 --max-trials 13",
    )
    parser.add_argument("dataset", help=DATASET)
    parser.add_argument("--out", metavar="FOLDER", help="the search's folder [searches/DATASET]")
    parser.add_argument("--tuner", choices=TUNERS, default="hyperband", help="how trials are chosen [hyperband]")
    parser.add_argument(
        "--max-trials",
        type=positive,
        metavar="N",
        help="how many at most [20, or as many as hyperband runs until one is whole]",
    )
    parser.add_argument("--epochs", type=positive, default=10, metavar="N", help="of a whole trial [10]")
    parser.add_argument(
        "--space", metavar="NAME", default="all", help=f"{', '.join(SPACES)}, or a .toml or .yaml [all]"
    )
    parser.add_argument(
        "--set",
        action="append",
        type=_named_values,
        default=[],
        metavar="NAME=VALUES",
        help="a dimension: NAME=3 fixes it, NAME=1,3,5 is a choice, NAME=0.01..0.4 a range; can be said several times",
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="NAME", help="a dimension that is left to the recipe"
    )
    parser.add_argument("--recipe", metavar="NAME", help="what trials have in common: a name or a recipe.json [paper]")
    parser.add_argument("--max-params", type=positive, metavar="N", help="parameters beyond which nothing is tried")
    parser.add_argument("--max-macs", type=positive, metavar="N", help="multiply-adds beyond which nothing is tried")
    parser.add_argument("--target-macs", type=positive, metavar="N", help="beyond which the error counts for more")
    parser.add_argument(
        "--target-latency",
        type=_above_zero,
        metavar="MS",
        help="the same, of an image alone on the machine of the trial",
    )
    parser.add_argument(
        "--fidelity", choices=FIDELITIES, default="epochs", help="of what short trials of hyperband have less [epochs]"
    )
    parser.add_argument("--images", type=positive, metavar="N", help=help_of("images"))
    parser.add_argument(
        "--validation", type=int, metavar="N", help="training images held out, by which trials are judged [a tenth]"
    )
    parser.add_argument(
        "--stop-early",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="stop a trial that is worse than half of the others were [yes]",
    )
    parser.add_argument(
        "--patience",
        type=_above_zero,
        default=600.0,
        metavar="SECONDS",
        help="on many machines: without a sign of life behind which a worker or the chief counts as dead [600]",
    )
    parser.add_argument("--seed", type=random_seed, default=0, metavar="N", help="of the search [0]")
    parser.add_argument("--data-dir", metavar="FOLDER", help=help_of("data_dir"))
    backend_option(parser)


def run(arguments: argparse.Namespace) -> int:
    engine = backend.select_backend(arguments.backend)
    from ..tuning.report import write_report
    from ..tuning.search import Search

    study = _study(arguments)
    out = Path(arguments.out or f"searches/{Path(study.base.dataset.removeprefix('folder:')).resolve().name}")
    try:
        search = Search(
            study, out, engine, lambda line: print(line, file=sys.stderr, flush=True), patience=arguments.patience
        )
        search.search()
    except StoppedError as error:
        print(f"keras-resnet: {error}. The same command goes on from there.", file=sys.stderr)
        return Status.TRY_AGAIN
    if search.role == "worker":  # the chief reports
        return Status.DONE
    best = write_report(out)
    if arguments.json:
        print(json.dumps(best, indent=2))
        return Status.DONE
    split = "validation" if study.base.validation else "test"
    short = "" if best["budget"] == study.budget else " It was short; no whole one came to an end."
    print(f"Best: {best['error']:.2f} % {split} error, trial {int(best['trial']) + 1}.{short}")
    print(f"Look at {out}/: leaderboard.html, leaderboard.csv, best_recipe.json, and pictures")
    return Status.DONE


def _study(arguments: argparse.Namespace) -> Study:
    """What the arguments ask to be searched."""
    return study_of(
        arguments.dataset,
        recipe=arguments.recipe,
        space_name=arguments.space,
        without=arguments.without,
        changes=dict(arguments.set),
        epochs=arguments.epochs,
        validation=arguments.validation,
        images=arguments.images,
        data_dir=arguments.data_dir,
        max_parameters=arguments.max_params,
        max_macs=arguments.max_macs,
        tuner=arguments.tuner,
        seed=arguments.seed,
        fidelity=arguments.fidelity,
        target_macs=arguments.target_macs,
        target_latency=arguments.target_latency,
        stop_early=arguments.stop_early,
        **({"max_trials": arguments.max_trials} if arguments.max_trials else {}),
    )


def _above_zero(text: str) -> float:
    if not float(text) > 0:
        raise argparse.ArgumentTypeError(f"must be above 0. Received: {text}")
    return float(text)


def _named_values(text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"reads NAME=VALUES. Received: {text}")
    return name.strip().replace("-", "_"), values
