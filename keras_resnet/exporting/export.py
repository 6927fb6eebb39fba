"""From a trained network to a folder that is served."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

from .. import backend, saving
from ..data import SIZE
from ..evaluation.source import check_view
from ..evaluation.views import shapes
from ..options import as_words
from ..status import Status
from ..training.processes import NAMED, last_line, start
from .card import ERRORS, LABELS, write_card
from .choices import CHANNELS, Choices
from .folding import fold, in_dtype, outcome


def export(
    model: keras.Model | str | Path,
    out: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    view: Mapping[str, int] | None = None,
    say: Callable[[str], None] = lambda line: None,
    **choices: Any,
) -> dict[str, Any]:
    """Writes a network as servers take it, in a folder of the next version: a SavedModel, or one of other formats.

    A SavedModel is one plain TensorFlow graph, whatever backend the network was trained on: on JAX and Torch it is made
    by a process on TensorFlow. Its signatures take any number of images:

    - "image_bytes", strings: JPEG, PNG, GIF or BMP files of any size. They are decoded, turned upright, cut and resized
      inside the graph, as `predict` does it. Gives "probabilities", float32 (batch, classes); "classes", the names of
      the most probable, (batch, top); "scores", their probabilities; and "valid", false for a file that does not
      decode, of which all else is zero.
    - "images", float32 (batch, height, width, channels) of 0 to 255, and "images_uint8". Give the same but "valid".
    - "features", images too. Gives "features", the vector before the logits.

    In the other formats, one file takes "images" and gives "probabilities".

    Args:
        model: a model that takes raw images of 0 to 255, a `.keras` file, or the folder of a run.
        out: the folder of all versions; `OUT/1` is written, `OUT/2` by the next call, whole or not at all.
        class_names: a name a class; None for what the file says, else the classes' numbers.
        view: "size" and "resize" of the centre square of an image file that the network is shown; None for what the
            file says, else the largest part in the middle that has the proportions of the network's images.
        say: is told of what takes long when it begins, in a line.
        **choices: of `keras_resnet.exporting.choices.Choices`: `format`, `fold`, `dtype`, `asked`, `top`, `warm_up`,
            `int8`, `measure` and `data_dir`.

    Returns:
        The model card, which says what was written: of a network within a model, batch norm stays, and the dtype; with
        "out", the folder of the version, and "version".

    Raises:
        ValueError: no model, one that cannot be folded, a view that does not fit it, a folder that is in use or holds
            something else, or a package that is missing.
    """
    chosen = Choices(**choices)
    _refuse_others(Path(out))
    network, info = (model, {}) if isinstance(model, keras.Model) else saving.load(model)
    own = class_names and [str(name) for name in class_names]
    info = {**info, **{k: v for k, v in (("class_names", own), ("view", view)) if v is not None}}
    shape, classes = shapes(network)
    check_view(shape, info.get("view"))
    labels = [str(name) for name in info.get("class_names") or range(classes)]
    if len(labels) != classes:
        raise ValueError(f"{network.name!r} has {classes} classes. Received: {len(labels)} class names")
    if broken := [name for name in labels if name and name.splitlines() != [name]]:
        raise ValueError(f"A class's name is one line. Received: {broken[0]!r}")
    if chosen.format == "saved_model" and chosen.asked == "image_bytes" and shape[-1] not in CHANNELS:
        raise ValueError(
            f"No image file has the {shape[-1]} channels that {network.name!r} takes. Choose the images themselves: "
            "asked='images'."
        )
    if not backend.can_export_graphs():
        return _elsewhere(network, info, out, chosen, say)
    with _next_version(Path(out)) as (version, folder):
        told = _write(network, info, labels, folder, chosen, say)
        card = write_card(folder, {**_known(network, info), **vars(chosen), **told, "top": min(chosen.top, classes)})
    return {**card, "out": str(Path(out) / str(version)), "version": version}


def _write(
    network: keras.Model,
    info: Mapping[str, Any],
    class_names: Sequence[str],
    folder: Path,
    choices: Choices,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Writes all but the card, and returns what that should say of it."""
    from .formats import write_format
    from .int8 import write_int8
    from .saved_model import write_saved_model
    from .warm_up import write_requests

    labels, view = folder / LABELS, info.get("view")
    labels.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
    say("Folding batch norm into convolutions." if choices.fold else "Copying the network.")
    model = in_dtype(network, "float32")  # in which folding loses nothing
    model = fold(model) if choices.fold else model
    model = model if choices.dtype == "float32" else in_dtype(model, choices.dtype)
    told = outcome(network, model)
    if choices.int8:
        return {**told, "int8": write_int8(model, folder, network, info, choices, say)}
    say(f"Writing the format {choices.format}.")
    if choices.format != "saved_model":
        write_format(model, folder, choices.format)
        return told
    told["signatures"] = write_saved_model(model, folder, labels, view, choices.top, choices.asked)
    labels.unlink()  # a copy of it is among the assets
    if choices.warm_up:
        (height, width, channels), side = shapes(network)[0], view["size"] if view else SIZE
        write_requests(folder, choices.warm_up, (height or side, width or side, channels), choices.asked)
    return told


def _known(network: keras.Model, info: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a network."""
    shape, classes = shapes(network)
    recipe = {name: info[name] for name in (*ERRORS, "epochs", "seed") if name in info}
    learned = (variable for layer in network._flatten_layers() for variable in layer._trainable_variables)
    return {
        "network": info.get("model") or network.name,
        "parameters": sum(math.prod(variable.shape) for variable in learned),  # frozen layers' too
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


def _elsewhere(
    network: keras.Model,
    info: Mapping[str, Any],
    out: str | Path,
    choices: Choices,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """The same in a process on TensorFlow, all of whose lines on stderr but the last of a mistake are passed on.

    Raises:
        ValueError: what that process says.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        saving.save(network, path, dict(info))
        words = ["export", str(path), str(out), "--json", *as_words(vars(choices))]
        printed, lines = Path(folder) / "printed", []
        say("A process on TensorFlow begins, which writes the graph.")
        with printed.open("w") as target, start(words, {"KERAS_BACKEND": "tensorflow"}, stdout=target) as process:
            try:
                for line in process.stderr:
                    lines.append(line)
                    if not line.startswith(NAMED):  # this is for whoever calls
                        say(line.rstrip("\n"))
            except BaseException:
                process.kill()
                raise
        if status := process.returncode:
            how = f"by signal {-status}; perhaps memory ran out" if status < 0 else f"with status {status}"
            said = last_line("".join(lines)) if status > 0 else None
            error = saving.FolderInUseError if status == Status.HELD else ValueError
            raise error(said or f"The process on TensorFlow that exports ended {how}.")
        return json.loads(printed.read_text())


def _refuse_others(out: Path) -> None:
    """Refuses a folder of all versions that cannot be one.

    Raises:
        ValueError: it is no folder, or holds something else.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"{str(out)!r} is a file. Choose another folder.")
    others = [path.name for path in out.glob("*") if not path.name.isdigit() and not path.name.startswith(".")]
    if others:
        raise ValueError(f"{str(out)!r} holds something else than versions of a model: {others[0]}. Choose another.")


@contextmanager
def _next_version(out: Path) -> Iterator[tuple[int, Path]]:
    """The next version's number, and a folder that takes its place when all of it is written.

    Raises:
        ValueError: the folder of all versions is in use.
    """
    with saving.lock(out, "exports to"):
        version = max((int(path.name) for path in out.glob("*") if path.name.isdigit()), default=0) + 1
        with saving.folder_atomically(out / str(version)) as folder:
            yield version, folder
