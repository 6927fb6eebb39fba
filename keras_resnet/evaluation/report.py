"""The report folder of an evaluation.

    result.json       the complete result
    classes.csv       one row per class: the numbers of images and of correct predictions, and the commonest error
    confusion.png     the confusion matrix
    calibration.png   the calibration of the network's confidence, if it returns probabilities

Every file is written completely or not at all.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import saving
from ..data import absolute_path
from ..files import write_atomically, write_json, write_text
from ..tables import csv_table
from .evaluate import Evaluation
from .pictures import draw_calibration, draw_confusion


def default_folder(model: str | Path, result: dict[str, Any]) -> Path:
    """Returns the default folder of a report: beside the model, a separate one for each data set, split and view.

    A folder of photographs is represented by its name without the path, and an ensemble by its size and the first
    digits of a hash of its members' names. If the folder already contains the report of another data set of the same
    name, the first digits of a hash of this data set's absolute path or name are appended.
    """
    path = saving.model_file(model)
    parts = [] if path.name == "model.keras" else [path.stem]
    dataset = result["dataset"]
    parts += [Path(_identity(result)).name if absolute_path(dataset) else dataset, result["split"]]
    parts += [] if result["view"] == "one view" else [result["view"]]
    if "members" in result:
        digest = hashlib.sha256(" + ".join(member["model"] for member in result["members"]).encode()).hexdigest()
        parts += [f"ensemble-of-{len(result['members'])}-{digest[:8]}"]
    folder = path.parent / "evaluation" / re.sub(r"[ ,:/]+", "-", "-".join(parts))
    if _has_report_of_another_dataset(folder, result):
        return folder.with_name(f"{folder.name}-{hashlib.sha256(_identity(result).encode()).hexdigest()[:8]}")
    return folder


def _identity(result: Mapping[str, Any]) -> str:
    """Returns what identifies the data set of a result: its name, or the absolute path of a folder of photographs."""
    return result.get("dataset_path") or absolute_path(result["dataset"]) or result["dataset"]


def _has_report_of_another_dataset(folder: Path, result: Mapping[str, Any]) -> bool:
    """Returns whether a folder contains the report of another data set. A damaged report may be replaced."""
    try:
        return _identity(json.loads((folder / "result.json").read_text(encoding="utf-8"))) != _identity(result)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write_report(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Writes the report of an evaluation to a folder.

    Returns:
        The files that were written.
    """
    folder, result = Path(folder), evaluation.result
    title = f"{result['model']} on {result['dataset']} ({result['split']}, {result['view']})"
    write_json(folder / "result.json", result)
    write_text(folder / "classes.csv", _csv(result["classes"]))
    written = ["result.json", "classes.csv", "confusion.png"]
    write_atomically(
        folder / "confusion.png",
        lambda path: draw_confusion(evaluation.confusion, evaluation.class_names, path, _with_error(title, result)),
    )
    if result["calibration"]:
        written.append("calibration.png")
        write_atomically(folder / "calibration.png", lambda path: draw_calibration(result["calibration"], path, title))
    return [folder / name for name in written]


def _with_error(title: str, result: dict[str, Any]) -> str:
    return f"{title}\ntop-1 error {result['error']:.2f} % of {result['images']:,} images"


def _csv(rows: list[dict[str, Any]]) -> str:
    errors = [row["taken_for"] or {"name": "", "images": 0} for row in rows]
    pairs = zip(rows, errors, strict=True)
    return csv_table([{**row, "taken_for": error["name"], "taken_for_images": error["images"]} for row, error in pairs])
