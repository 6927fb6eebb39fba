"""The model card: what a served network is, for people (README.md) and for programs (model_card.json)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import saving
from ..data import SIZE
from .choices import FORMATS

README = """\
# {network}

| | |
|---|---|
{rows}
## What it is shown

{shown}

## How it is asked

{usage}
## Checksums

```
{files}```
"""
SAVED_MODEL = """\
Signatures of the SavedModel; each takes any number of images. Where none is named, `{asked}` answers{alone}.

| signature | takes | gives |
|---|---|---|
{signatures}
`classes` are the names of the {top} most probable classes, `scores` their probabilities.{invalid}
"""
SIGNATURES = {
    "image_bytes": "`image_bytes`: JPEG, PNG, GIF or BMP files | `probabilities`, `classes`, `scores`, `valid`",
    "images": "`images`: float32 {shape}, 0 to 255 | `probabilities`, `classes`, `scores`",
    "images_uint8": "`images`: uint8 {shape} | `probabilities`, `classes`, `scores`",
    "features": "`images`: float32 {shape}, 0 to 255 | `features`: the vector before the logits",
}
INVALID = """ A file that does not decode
has `valid` false and zeros; the others of its batch are answered."""
FILE = """\
`{file}` takes any number of images as `images`, float32 {shape}, 0 to 255, and gives `probabilities`.
"""
LABELS = "labels.txt"
ERRORS = ("test_error", "validation_error")


def write_card(folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `model_card.json` and `README.md` beside what they describe.

    Args:
        folder: of one version of a model.
        card: what is known of it.

    Returns:
        The card, with "files": the SHA-256 of every file by its path.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {str(path.relative_to(folder)): _digest(path) for path in files}
    whole = {**card, "files": digests}
    saving.write_json(folder / "model_card.json", whole)
    saving.write_text(folder / "README.md", _readme(whole))
    return whole


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _readme(card: Mapping[str, Any]) -> str:
    shape = "(batch, " + ", ".join(str(side or "any") for side in card["shape"]) + ")"
    labels = next(name for name in card["files"] if name.endswith(LABELS))
    versions = {name: version for name, version in card["versions"].items() if isinstance(version, str)}
    told = {
        "network": card["network"],
        "parameters": f"{card['parameters']:,}",
        "weights": card["weights"],
        "trained on": card["dataset"],
        **{name.replace("_", " "): f"{card[name]:.2f} %" for name in ERRORS if name in card},
        "classes": f"{card['classes']:,}, named in `{labels}`",
        "computes in": _dtype(card),
        "batch norm": _norms(**card["batch_norm"]),
        "written with": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    rows = "".join(f"| {name} | {value} |\n" for name, value in told.items() if value)
    files = "".join(f"{digest}  {name}\n" for name, digest in card["files"].items())
    if card["format"] == "saved_model":
        alone = ", with its probabilities alone" if card["asked"] == "images" else ""
        signatures = (f"| `{name}` | {SIGNATURES[name].format(shape=shape)} |\n" for name in card["signatures"])
        usage = SAVED_MODEL.format(
            asked=card["asked"],
            alone=alone,
            shape=shape,
            top=card["top"],
            signatures="".join(signatures),
            invalid=INVALID if "image_bytes" in card["signatures"] else "",
        )
    else:
        usage = FILE.format(file=FORMATS[card["format"]].file, shape=shape)
    return README.format(network=card["network"], rows=rows, shown=_shown(card), usage=usage, files=files)


def _norms(folded: int, left: int) -> str | None:
    """Where batch norm is; None of a network that has none."""
    if not folded:
        return "as it was trained" if left else None
    some = f"{folded} of {folded + left} " if left else ""
    return f"{some}folded into the convolutions"


def _dtype(card: Mapping[str, Any]) -> str:
    """What convolutions compute in, and what that costs if it was measured."""
    if not card["int8"]:
        return card["dtype"]
    told = f"int8, whose ranges {card['int8']['images']:,} images decided"
    if errors := card["int8"].get("errors"):
        told += f"; error on {card['measure']}: {errors['int8']:.2f} % (float32: {errors['float32']:.2f} %)"
    return told


def _shown(card: Mapping[str, Any]) -> str:
    """What becomes of an image file, in words."""
    height, width = (side or SIZE for side in card["shape"][:2])
    if view := card["view"]:
        size = view["size"]
        cut = f"The shorter side is resized to {view['resize']} pixels, and the centre of {size}x{size} is cut"
    else:
        cut = (
            f"The largest part in the middle of the proportions {height}:{width} is resized to {height}x{width} pixels"
        )
    if (card["input"] or "").startswith("images normalised"):  # by whoever asks: nothing is known of how
        return f"{cut}, as EXIF turns it. The network takes {card['input']}, and does not do so itself."
    known = card["normalization"] or {}
    told = [f"subtract {known['mean']}"] if "mean" in known else []
    told += [f"divide by {known['deviation']}"] if "deviation" in known else []
    how = f": {', '.join(told)}" if told else ""
    return f"{cut}, as EXIF turns it. The network takes raw values of 0 to 255 and normalises them itself{how}."
