"""`keras-resnet evaluate`: test errors of a network or an ensemble."""

from __future__ import annotations

import argparse
from typing import Any

from .. import backend
from ..evaluation.views import Views
from ..files import json_text
from ..options import add_options, file_name, given_fields, positive
from ..status import Status
from .common import DATASET, MODEL, Commands, backend_option, data_dir_option, naming_out, verbose


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "evaluate",
        run,
        "Tests a network or an ensemble on a data set, with one view of each image or several, as in the papers.",
        "evaluate runs/photos-resnet18 folder:photos --crops 10",
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help=MODEL)
    parser.add_argument("dataset", metavar="DATASET", help=DATASET)
    data_dir_option(parser)
    parser.add_argument("--split", choices=("test", "train"), default="test", help="images to test on [test]")
    add_options(parser, Views)
    parser.add_argument(
        "--batch-size", type=positive, metavar="N", help="images per batch [500; 50 for photographs of 224x224]"
    )
    parser.add_argument(
        "--out",
        type=file_name,
        metavar="FOLDER",
        help="folder for the report [evaluation/DATASET-SPLIT... next to the first model]",
    )
    backend_option(parser)


def run(arguments: argparse.Namespace) -> int:
    backend.select_backend(arguments.backend)
    from ..evaluation.evaluate import evaluate
    from ..evaluation.report import default_folder, write_report

    evaluation = evaluate(
        arguments.models,
        arguments.dataset,
        arguments.data_dir,
        split=arguments.split,
        views=Views(**given_fields(arguments, Views)),
        batch_size=arguments.batch_size,
        verbose=verbose(arguments),
    )
    result = evaluation.result
    if arguments.json:
        print(json_text(result), flush=True)
    else:
        lines = [f"{row['model']}: {_errors(row)}" for row in (*result.get("members", ()), result)]
        print("\n".join([*lines, *_worst_and_calibration(result)]), flush=True)
    folder = arguments.out or default_folder(arguments.models[0], result)
    with naming_out(arguments):
        files = write_report(evaluation, folder)  # after printing, so that the result is not lost if writing fails
    if not arguments.json:
        print(f"Written to {folder}/: {', '.join(path.name for path in files)}")
    return Status.DONE


def _errors(result: dict[str, Any]) -> str:
    """Returns a line with the errors, their 95 % intervals and the speed."""

    def error(name: str) -> str:
        low, high = result[f"{name}_interval"]
        return f"{result[name]:.2f} % ({low:.2f} to {high:.2f})"

    bad = f"{result['bad']:,} unreadable, " if result["bad"] else ""
    speed = result["images_per_second"]
    return (
        f"{result['images']:,} images, {bad}{result['wrong']:,} wrong: top-1 error {error('error')}, "
        f"top-5 error {error('top5_error')}; {speed:,.{0 if speed >= 10 else 1}f} images/s"
    )


def _worst_and_calibration(result: dict[str, Any]) -> list[str]:
    """Returns a line with up to three classes that are most often wrong, and one with the calibration, if measured."""
    worst = sorted((row for row in result["classes"] if row["accuracy"] < 100), key=lambda row: row["accuracy"])[:3]
    errors = [f"{row['name']} {100 - row['accuracy']:.1f} %" for row in worst]
    lines = [f"Most often wrong: {', '.join(errors)}"] if errors else []
    if calibration := result["calibration"]:
        lines.append(
            f"Expected calibration error {calibration['expected_calibration_error']:.2f} %, "
            f"negative log-likelihood {calibration['negative_log_likelihood']:.3f}"
        )
    return lines
