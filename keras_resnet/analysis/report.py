"""The report of an analysis: a JSON file with the numbers and their origin, and a picture."""

from __future__ import annotations

import hashlib
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from .. import saving
from ..data import short_name
from ..files import write_atomically, write_json
from .analyses import ANALYSES, module_of


def default_folder(model: str, report: dict[str, Any], images: int | None) -> Path:
    """Returns the default folder of a report, a different one for each data set, networks, seed and number of images.

    Args:
        model: the first network: a file, a run folder or a name.
        report: the report, as for `write_report`.
        images: the number of images if the user gave one, else None.

    Returns:
        A folder in `analysis/` next to the first network's file, or in the working directory for a network given by
        name. The folder's name ends with a short hash of the data set, networks, seed and number of images.
    """
    path = saving.model_file(model)
    first, *others = report["networks"]
    network = [] if path.name == "model.keras" else [path.stem if path.is_file() else first[:80]]
    more = [f"and-{len(others)}-more"] if others else []
    identity = json.dumps([report["dataset"], first, *others, report["seed"], images])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    name = re.sub(r"[^\w.]+", "-", "-".join([short_name(report["dataset"]), *network, *more, digest]))
    return path.parent / "analysis" / name


def write_report(report: dict[str, Any], folder: Path) -> list[Path]:
    """Writes the numbers as JSON, and a picture of them.

    Args:
        report: "analysis", a key of `ANALYSES`; "dataset"; "images", their number; "seed"; "choices", the fields of
            `Spec` that were changed in networks given by name; and "networks", the results by network name.
        folder: the folder for both files.

    Returns:
        The files that were written.
    """
    kind, name = ANALYSES[report["analysis"]], report["analysis"]
    title = f"{kind.what} ({kind.source})\n{report['images']:,} images of {report['dataset']}, seed {report['seed']}"
    numbers, picture = folder / f"{name}.json", folder / f"{name}.png"
    write_json(numbers, report)
    write_atomically(picture, partial(module_of(name).draw, report["networks"], title=title))
    return [numbers, picture]
