"""`keras-resnet tune`: a hyperparameter search."""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import backend
from ..data import short_name
from ..files import json_text
from ..options import file_name, positive, random_seed
from ..status import Status
from ..training.interruption import NOT_BEGUN, stop_request
from ..tuning.space import SPACES
from ..tuning.study import FIDELITIES, TUNERS, Study, create_study
from .common import DATASET, Commands, backend_option, data_dir_option, help_of, say


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "tune",
        run,
        "Searches depth, width, shortcut and recipe with keras-tuner; resumes when run again with the same folder.",
        "tune digits --space shape --set learning_rate=0.01..0.3 --epochs 9 --max-trials 13",
    )
    parser.add_argument("dataset", metavar="DATASET", help=DATASET)
    parser.add_argument("--out", type=file_name, metavar="FOLDER", help="folder of the search [searches/DATASET]")
    parser.add_argument("--tuner", choices=TUNERS, default="hyperband", help="search algorithm [hyperband]")
    parser.add_argument(
        "--max-trials",
        type=positive,
        metavar="N",
        help="maximum number of trials [20, or more if hyperband needs more until its first full-length trial]",
    )
    parser.add_argument("--epochs", type=positive, default=10, metavar="N", help="epochs of a full-length trial [10]")
    parser.add_argument(
        "--space",
        metavar="NAME",
        default="all",
        help=f"search space: {', '.join(SPACES)}, or a .toml, .yaml or .json file [all]",
    )
    parser.add_argument(
        "--set",
        action="append",
        type=_named_values,
        default=[],
        metavar="NAME=VALUES",
        help="sets a dimension of the space: NAME=3 fixes it, NAME=1,3,5 is a choice, NAME=0.01..0.4 a range; may be "
        "repeated",
    )
    parser.add_argument(
        "--without",
        action="append",
        type=_name,
        default=[],
        metavar="NAME",
        help="removes a dimension from the space, so that the recipe's value is used; may be repeated",
    )
    parser.add_argument(
        "--recipe", type=file_name, metavar="NAME", help="recipe of all trials: a name or a recipe.json [paper]"
    )
    parser.add_argument("--max-params", type=positive, metavar="N", help="maximum number of parameters of a network")
    parser.add_argument("--max-macs", type=positive, metavar="N", help="maximum number of multiply-adds of a network")
    parser.add_argument(
        "--target-macs", type=positive, metavar="N", help="multiply-adds above which a network's error is penalised"
    )
    parser.add_argument(
        "--target-latency",
        type=_above_zero,
        metavar="MS",
        help="milliseconds for one image, on the machine of the trial, above which a network's error is penalised",
    )
    parser.add_argument(
        "--fidelity", choices=FIDELITIES, default="epochs", help="what hyperband reduces in short trials [epochs]"
    )
    parser.add_argument("--images", type=positive, metavar="N", help=help_of("images"))
    parser.add_argument(
        "--validation", type=int, metavar="N", help="training images held out to judge the trials by [a tenth]"
    )
    parser.add_argument(
        "--stop-early",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="stop trials that are worse than the median of the others at the same epoch [yes]",
    )
    parser.add_argument(
        "--patience",
        type=_above_zero,
        default=600.0,
        metavar="SECONDS",
        help="with several machines: time without a sign of life after which a worker or the chief counts as dead "
        "[600]",
    )
    parser.add_argument("--seed", type=random_seed, default=0, metavar="N", help="random seed of the search [0]")
    data_dir_option(parser)
    backend_option(parser)


def run(arguments: argparse.Namespace) -> int:
    out = Path(arguments.out or f"searches/{short_name(arguments.dataset)}")
    with stop_request() as stop, stop.at_once(NOT_BEGUN):  # imports, and the data set, may take long
        engine = backend.select_backend(arguments.backend)
        from ..tuning.report import write_report
        from ..tuning.search import Search

        study = _study(arguments)
        search = Search(study, out, engine, say, patience=arguments.patience)
    search.search()
    if search.role == "worker":  # the chief reports
        return Status.DONE
    best = write_report(out)
    if arguments.json:
        print(json_text(best))
        return Status.DONE
    short = "" if best["budget"] == study.budget else " It was a short trial; no full-length trial has finished."
    print(f"Best: {best['error']:.2f} % {study.base.split} error, trial {int(best['trial']) + 1}.{short}")
    print(f"Written to {out}/: leaderboard.html, leaderboard.csv, best_recipe.json, and pictures")
    return Status.DONE


def _study(arguments: argparse.Namespace) -> Study:
    """Returns the study that the arguments describe."""
    return create_study(
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


_above_zero.__name__ = "float"  # used in argparse's messages


def _named_values(text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"must be NAME=VALUES. Received: {text}")
    return _name(name), values


def _name(text: str) -> str:
    """Returns the name of a dimension, which may be written like the options of other commands, with hyphens."""
    return text.strip().replace("-", "_")
