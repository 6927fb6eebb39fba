"""Model card of an exported network, for people (README.md) and for programs (model_card.json)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data import SIZE
from ..files import write_json, write_text
from .choices import FORMATS

README = """\
# {network}

| | |
|---|---|
{rows}
## Preprocessing

{preprocessing}

## Usage

{usage}
## Checksums

```
{files}```
"""
SAVED_MODEL = """\
Signatures of the SavedModel. Each takes any number of images. The default signature is `{default_signature}`{alone}.

| signature | input | outputs |
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
INVALID = """
For a file that cannot be decoded, `valid` is false and all numbers are zero; the rest of its batch is not affected."""
FILE = """\
`{file}` takes any number of images as `images`, float32 {shape}, 0 to 255, and returns `probabilities`.
"""
LABELS = "labels.txt"
ERRORS = ("test_error", "validation_error")


def write_card(folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `model_card.json` and `README.md` next to the files that they describe.

    Args:
        folder: the folder of one version of a model.
        card: the entries of the card.

    Returns:
        The card, with "files" added: the SHA-256 of every file by its path.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {str(path.relative_to(folder)): _digest(path) for path in files}
    card = {**card, "files": digests}
    write_json(folder / "model_card.json", card)
    write_text(folder / "README.md", _readme(card))
    return card


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _readme(card: Mapping[str, Any]) -> str:
    shape = "(batch, " + ", ".join(str(side or "any") for side in card["shape"]) + ")"
    labels = next(name for name in card["files"] if name.endswith(LABELS))
    versions = {name: version for name, version in card["versions"].items() if isinstance(version, str)}
    properties = {
        "network": card["network"],
        "parameters": f"{card['parameters']:,}",
        "weights": card["weights"],
        "trained on": card["dataset"],
        **{name.replace("_", " "): f"{card[name]:.2f} %" for name in ERRORS if name in card},
        "classes": f"{card['classes']:,}, named in `{labels}`",
        "computes in": _dtype(card),
        "batch norm": _batch_norm(**card["batch_norm"]),
        "written with": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    rows = "".join(f"| {name} | {value} |\n" for name, value in properties.items() if value)
    files = "".join(f"{digest}  {name}\n" for name, digest in card["files"].items())
    if card["format"] == "saved_model":
        alone = ", with `probabilities` as its only output" if card["default_signature"] == "images" else ""
        signatures = (f"| `{name}` | {SIGNATURES[name].format(shape=shape)} |\n" for name in card["signatures"])
        usage = SAVED_MODEL.format(
            default_signature=card["default_signature"],
            alone=alone,
            shape=shape,
            top=card["top"],
            signatures="".join(signatures),
            invalid=INVALID if "image_bytes" in card["signatures"] else "",
        )
    else:
        usage = FILE.format(file=FORMATS[card["format"]].file, shape=shape)
    return README.format(
        network=card["network"], rows=rows, preprocessing=_preprocessing(card), usage=usage, files=files
    )


def _batch_norm(folded: int, left: int) -> str | None:
    """Describes how much batch norm was folded; None if the network has none."""
    if not folded:
        return "as it was trained" if left else None
    some = f"{folded} of {folded + left} " if left else ""
    return f"{some}folded into the convolutions"


def _dtype(card: Mapping[str, Any]) -> str:
    """Describes the dtype of the convolutions, with the error in int8 if it was measured."""
    if not card["int8"]:
        return card["dtype"]
    text = f"int8, calibrated on {card['int8']['images']:,} images"
    if errors := card["int8"].get("errors"):
        text += f"; error on {card['measure']}: {errors['int8']:.2f} % (float32: {errors['float32']:.2f} %)"
    return text


def _preprocessing(card: Mapping[str, Any]) -> str:
    """Describes how an image file becomes the network's input."""
    height, width = (side or SIZE for side in card["shape"][:2])
    upright = "An image file is turned upright according to EXIF."
    if view := card["view"]:
        size = view["size"]
        cut = f"The shorter side is resized to {view['resize']} pixels, and the centre of {size}x{size} is cut out."
    else:
        cut = f"The largest centred part of aspect ratio {height}:{width} is resized to {height}x{width} pixels."
    if (card["input"] or "").startswith("images normalised"):  # by the caller: how, is not known
        return f"{upright} {cut} The network takes {card['input']}, and does not normalise them itself."
    normalization = card["normalization"] or {}
    steps = [f"subtract {normalization['mean']}"] if "mean" in normalization else []
    steps += [f"divide by {normalization['deviation']}"] if "deviation" in normalization else []
    formula = f": {', '.join(steps)}" if steps else ""
    return f"{upright} {cut} The network takes raw values of 0 to 255 and normalises them itself{formula}."
