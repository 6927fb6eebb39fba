"""What an analysis leaves: numbers that say what they are of, and a picture."""

from __future__ import annotations

import hashlib
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

from .. import saving
from .analyses import ANALYSES, tool


def default_folder(model: str, report: dict[str, Any], images: int | None) -> Path:
    """Where an analysis goes if its user does not say: a folder per data set, networks, seed and number of images.

    Args:
        model: the first network, as its user calls it.
        report: what `write_report` takes.
        images: the number of images, if its user gave one.

    Returns:
        A folder in `analysis/` beside the first network's file, in the working directory for a network that is named.
        Its name ends with the first digits of a hash of all that it stands for.
    """
    path = Path(model)
    data = Path(report["dataset"].removeprefix("folder:")).resolve().name
    first, *others = report["networks"]
    own = [] if path.is_dir() else [path.stem if path.is_file() else first[:80]]
    more = [f"and-{len(others)}-more"] if others else []
    identity = json.dumps([report["dataset"], first, *others, report["seed"], images])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    name = re.sub(r"[^\w.]+", "-", "-".join([data, *own, *more, digest]))
    return saving.model_file(path).parent / "analysis" / name


def write_report(report: dict[str, Any], folder: Path) -> list[Path]:
    """Writes the numbers as JSON, and a picture of them.

    Args:
        report: "analysis", a key of `ANALYSES`; "dataset"; "images", how many; "seed"; "choices", the fields of `Spec`
            that were changed in networks given by name; and "networks", the results by network name.
        folder: where both go.

    Returns:
        The files that were written.
    """
    kind, name = ANALYSES[report["analysis"]], report["analysis"]
    title = f"{kind.what} ({kind.source})\n{report['images']:,} images of {report['dataset']}, seed {report['seed']}"
    numbers, picture = folder / f"{name}.json", folder / f"{name}.png"
    saving.write_json(numbers, report)
    saving.write_atomically(picture, partial(tool(name).draw, report["networks"], title=title))
    return [numbers, picture]
