"""Export of a trained network to a folder for serving."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Unpack

import keras

from .. import backend, saving
from ..data import SIZE
from ..evaluation.outputs import check_classifies, shapes
from ..evaluation.source import check_view
from ..files import FolderInUseError, folder_atomically, lock, printable, write_text
from ..options import to_arguments
from ..status import Status
from ..training.processes import MESSAGE_PREFIX, last_line, start
from .card import ERRORS, LABELS, write_card
from .choices import CHANNELS, Choices, ExportChoices
from .folding import as_functional, fold, in_dtype, outcome


def export(
    model: keras.Model | str | Path,
    out: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    view: Mapping[str, int] | None = None,
    say: Callable[[str], None] = lambda line: None,
    **choices: Unpack[ExportChoices],
) -> dict[str, Any]:
    """Exports a network for serving, as a SavedModel or in another format, to the folder of a new version.

    A SavedModel is one plain TensorFlow graph, whatever backend the network was trained on: on JAX and Torch it is
    written by a separate TensorFlow process. Its signatures take any number of images:

    - "image_bytes", strings: JPEG, PNG, GIF or BMP files of any size. They are decoded, turned upright, cut and resized
      inside the graph, as in `predict`. Returns "probabilities", float32 (batch, classes); "classes", the names of the
      most probable classes, (batch, top); "scores", their probabilities; and "valid", false for a file that cannot be
      decoded, for which all numbers are zero and all names empty.
    - "images", float32 (batch, height, width, channels) of 0 to 255, and "images_uint8". Return the same but "valid".
    - "features", the same images in float32. Returns "features", the vector before the logits.

    In the other formats, a single file takes "images" and returns "probabilities".

    Args:
        model: a model that takes raw images of 0 to 255, a `.keras` file, or a run folder.
        out: the folder of all versions. The first call writes `OUT/1`, the next `OUT/2`, each completely or not at all.
        class_names: one name per class; None for the names stored in the file, else the class indices.
        view: "size" and "resize" of the centre square of an image file that the network is shown; None for the view
            stored in the file, else the largest centred part that has the aspect ratio of the network's images.
        say: called with a line when a step begins that takes long.
        **choices: fields of `keras_resnet.exporting.choices.Choices`: `format`, `fold`, `dtype`, `default_signature`,
            `top`, `warm_up`, `int8`, `measure` and `data_dir`.

    Returns:
        The model card, with "out", the folder of the version, and "version", its number. It describes what was written
        rather than what was requested: a network nested in another model keeps its batch norm and its dtype.

    Raises:
        ValueError: `model` is not a model, returns features or a single logit, is quantised or cannot be folded, `view`
            does not fit it, `out` is in use, contains something else or is not UTF-8, or a package is missing.
    """
    chosen = Choices(**choices)
    out = Path(os.path.expanduser(out))
    _check_folder(out, chosen.format)
    network, info = (model, {}) if isinstance(model, keras.Model) else saving.load(model)
    network = as_functional(network)
    given = None if class_names is None else [str(name) for name in class_names]
    info = {**info, **{k: v for k, v in (("class_names", given), ("view", view)) if v is not None}}
    shape, classes = shapes(network)
    check_classifies(network)
    check_view(shape, info.get("view"))
    if view:
        info["view"] = {name: int(side) for name, side in view.items()}  # JSON has no integers of NumPy
    names = [str(name) for name in info.get("class_names") or range(classes)]
    if len(names) != classes:
        raise ValueError(f"{network.name!r} has {classes} classes. Received: {len(names)} class names")
    if unfit := [name for name in names if name.splitlines() != [name]]:
        raise ValueError(f"A class name must be a single line that is not empty. Received: {unfit[0]!r}")
    if chosen.format == "saved_model" and chosen.default_signature == "image_bytes" and shape[-1] not in CHANNELS:
        raise ValueError(
            f"No image file has the {shape[-1]} channels that {network.name!r} takes. Export it with "
            "default_signature='images', for images instead of files."
        )
    if not backend.can_export_graphs():
        return _export_on_tensorflow(network, info, out, chosen, say)
    with _next_version(out) as (version, folder):
        written = _write(network, info, names, folder, chosen, say)
        known = _description(network, info)
        card = write_card(folder, {**known, **vars(chosen), **written, "top": min(chosen.top, classes)})
    return {**card, "out": str(out / str(version)), "version": version}


def _write(
    network: keras.Model,
    info: Mapping[str, Any],
    class_names: Sequence[str],
    folder: Path,
    choices: Choices,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Writes all files but the card, and returns the card's entries about them."""
    from .formats import write_format
    from .int8 import write_int8
    from .saved_model import write_saved_model
    from .warm_up import write_requests

    labels, view = folder / LABELS, info.get("view")
    write_text(labels, "".join(f"{name}\n" for name in class_names))
    say("Folding batch norm into convolutions." if choices.fold else "Copying the network.")
    model = in_dtype(network, "float32")  # so that folding loses no precision
    model = fold(model) if choices.fold else model
    model = model if choices.dtype == "float32" else in_dtype(model, choices.dtype)
    entries = outcome(network, model)
    if choices.int8:
        return {**entries, "int8": write_int8(model, choices.int8, folder, network, info, choices, say)}
    say(f"Writing the format {choices.format}.")
    if choices.format != "saved_model":
        write_format(model, folder, choices.format)
        return entries
    entries["signatures"] = write_saved_model(model, folder, labels, view, choices.top, choices.default_signature)
    labels.unlink()  # the SavedModel has a copy among its assets
    if choices.warm_up:
        (height, width, channels), side = shapes(network)[0], view["size"] if view else SIZE
        write_requests(folder, choices.warm_up, (height or side, width or side, channels), choices.default_signature)
    return entries


def _description(network: keras.Model, info: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the card's entries about the network."""
    shape, classes = shapes(network)
    recipe = {name: info[name] for name in (*ERRORS, "epochs", "seed") if name in info}
    learned = (variable for layer in network._flatten_layers() for variable in layer._trainable_variables)
    return {
        "network": info.get("model") or network.name,
        "parameters": sum(math.prod(variable.shape) for variable in learned),  # including those of frozen layers
        "weights": info.get("source") or ("trained by keras_resnet" if recipe else None),
        "dataset": info.get("dataset"),
        **recipe,
        "classes": classes,
        "shape": list(shape),
        "view": info.get("view"),
        "input": info.get("input"),
        "normalization": info.get("normalization"),
        "versions": {**backend.versions(), **({"trained with": info["versions"]} if "versions" in info else {})},
    }


def _export_on_tensorflow(
    network: keras.Model, info: Mapping[str, Any], out: Path, choices: Choices, say: Callable[[str], None]
) -> dict[str, Any]:
    """Runs the export in a TensorFlow process, and passes its lines on stderr to `say`, except for its error message.

    Raises:
        ValueError: the process failed; the message is that of the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        saving.save(network, path, dict(info))
        words = ["export", str(path), str(out), "--json", *to_arguments(vars(choices))]
        stdout, lines = Path(folder) / "stdout", []
        say("Starting a TensorFlow process that writes the graph.")
        with stdout.open("w") as target, start(words, {"KERAS_BACKEND": "tensorflow"}, stdout=target) as process:
            try:
                for line in process.stderr or ():
                    lines.append(line)
                    if not line.startswith(MESSAGE_PREFIX):  # the error message, which is raised below
                        say(line.rstrip("\n"))
            except BaseException:
                process.kill()
                raise
        if status := process.returncode:
            how = f"by signal {-status}; perhaps memory ran out" if status < 0 else f"with status {status}"
            message = last_line("".join(lines)) if status > 0 else None
            error = FolderInUseError if status == Status.HELD else ValueError
            raise error(message or f"The TensorFlow process of the export ended {how}.")
        return json.loads(stdout.read_text())


def _check_folder(out: Path, file_format: str) -> None:
    """Checks that a path can be the folder of all versions in a format.

    Raises:
        ValueError: it is a file, a folder that contains something else, or no path for TensorFlow, which writes
            SavedModels.
    """
    if file_format == "saved_model" and printable(str(out)) != str(out):
        raise ValueError(f"TensorFlow takes no path that is not UTF-8. Choose another folder. Received: {str(out)!r}")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{str(out)!r} is a file. Choose another folder.")
    others = [path.name for path in out.glob("*") if not path.name.isdigit() and not path.name.startswith(".")]
    if others:
        raise ValueError(
            f"{str(out)!r} must contain only versions of a model. Found: {others[0]}. Choose another folder."
        )


@contextmanager
def _next_version(out: Path) -> Iterator[tuple[int, Path]]:
    """Yields the next version's number and a temporary folder, which becomes the version's if the block succeeds.

    Raises:
        ValueError: the folder of all versions is in use.
    """
    with lock(out, "exports to", choose="another folder"):
        version = max((int(path.name) for path in out.glob("*") if path.name.isdigit()), default=0) + 1
        with folder_atomically(out / str(version)) as folder:
            yield version, folder
