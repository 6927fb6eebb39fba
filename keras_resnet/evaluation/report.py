"""The folder that a test leaves.

    result.json       all that was found
    classes.csv       a row a class: how many images, how many right, what the others were taken for
    confusion.png     what was taken for what
    calibration.png   whether the network is as often right as it says; where it gives probabilities

Every file is written whole or not at all.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import saving
from ..data import whole_path
from .evaluate import Evaluation
from .pictures import draw_calibration, draw_confusion


def default_folder(model: str | Path, result: dict[str, Any]) -> Path:
    """Where a test of a model goes, if its user does not say: beside the model, a folder for each way to test it.

    A folder of photographs is called by its name without its path, and an ensemble by its size and the first digits of
    a hash of its members' names. Where the report of another data set of this name lies there, the first digits of a
    hash of the data set's whole path or name follow.
    """
    path = Path(model)
    run = path if path.is_dir() else path.parent
    parts = [] if path.is_dir() or path.name == "model.keras" else [path.stem]
    dataset = result["dataset"]
    parts += [Path(_identity(result)).name if whole_path(dataset) else dataset, result["split"]]
    parts += [] if result["view"] == "one view" else [result["view"]]
    if "members" in result:
        digest = hashlib.sha256(" + ".join(member["model"] for member in result["members"]).encode()).hexdigest()
        parts += [f"ensemble-of-{len(result['members'])}-{digest[:8]}"]
    folder = run / "evaluation" / re.sub(r"[ ,:/]+", "-", "-".join(parts))
    if _holds_another(folder, result):
        return folder.with_name(f"{folder.name}-{hashlib.sha256(_identity(result).encode()).hexdigest()[:8]}")
    return folder


def _identity(result: Mapping[str, Any]) -> str:
    """Which data set a result is of: its name, or the whole path of a folder of photographs."""
    return result.get("dataset_path") or whole_path(result["dataset"]) or result["dataset"]


def _holds_another(folder: Path, result: Mapping[str, Any]) -> bool:
    """Whether the report of another data set lies there. One that is damaged may be replaced."""
    try:
        return _identity(json.loads((folder / "result.json").read_text(encoding="utf-8"))) != _identity(result)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write_report(evaluation: Evaluation, folder: str | Path) -> list[Path]:
    """Writes the folder.

    Returns:
        The files that were written.
    """
    folder, result = Path(folder), evaluation.result
    title = f"{result['model']} on {result['dataset']} ({result['split']}, {result['view']})"
    saving.write_json(folder / "result.json", result)
    saving.write_text(folder / "classes.csv", _table(result["classes"]))
    written = ["result.json", "classes.csv", "confusion.png"]
    saving.write_atomically(
        folder / "confusion.png",
        lambda path: draw_confusion(evaluation.confusion, evaluation.class_names, path, _heading(title, result)),
    )
    if result["calibration"]:
        written.append("calibration.png")
        saving.write_atomically(
            folder / "calibration.png", lambda path: draw_calibration(result["calibration"], path, title)
        )
    return [folder / name for name in written]


def _heading(title: str, result: dict[str, Any]) -> str:
    return f"{title}\ntop-1 error {result['error']:.2f} % of {result['images']:,} images"


def _table(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", "name", "images", "right", "accuracy", "taken_for", "taken_for_images"])
    for row in rows:
        other = row["taken_for"] or {"name": "", "images": 0}
        writer.writerow(
            [row["class"], row["name"], row["images"], row["right"], row["accuracy"], other["name"], other["images"]]
        )
    return text.getvalue()
