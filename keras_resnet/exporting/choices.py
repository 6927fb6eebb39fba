"""How a network is exported. Nothing here needs Keras: the command line is read before a backend is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..options import check_fields, option


class Format(NamedTuple):
    """A format.

    Attributes:
        file: what its file is called, or the first of its files.
        needs: the package that writes it.
        half: whether its runtimes have convolutions in bfloat16.
    """

    file: str
    needs: str
    half: bool = False


FORMATS = {
    "saved_model": Format("saved_model.pb", "tensorflow", half=True),
    "onnx": Format("model.onnx", "tf2onnx"),
    "litert": Format("model.tflite", "tensorflow"),
    "openvino": Format("model.xml", "openvino", half=True),
}
DTYPES = ("float32", "bfloat16")
ASKED = ("image_bytes", "images")
CHANNELS = (1, 3)  # of image files


@dataclass(frozen=True)
class Choices:
    """How a network is exported.

    Attributes:
        format: "saved_model", "onnx", "litert" or "openvino".
        fold: do batch norm's work in the convolutions, see `keras_resnet.exporting.folding.fold`.
        dtype: what convolutions compute in, "float32", or for the formats "saved_model" and "openvino" "bfloat16",
            for processors that have it: on others it is two to three times as slow as float32.
        asked: of a SavedModel, the signature that answers where none is named, as "serving_default": "image_bytes", or
            "images", which then gives probabilities alone, so that OpenVINO, which knows no text, reads the SavedModel.
        top: how many classes are named.
        warm_up: of a SavedModel, batch sizes that the server answers before it is ready; None or () for none.
        int8: a folder of images; convolutions then compute in 8-bit whole numbers, whose ranges these images decide.
            For the format "openvino".
        measure: a data set with labels, on which the error is told of what was exported and of what it was made of.
        data_dir: where that lies, if it is a prepared set of tensorflow-datasets; None for its own folder.

    Raises:
        ValueError: a choice that does not exist, or that does not go with another.
    """

    format: str = option("saved_model", f"what is written: {', '.join(FORMATS)}", choices=FORMATS)
    fold: bool = option(True, "do batch norm's work in the convolutions")
    dtype: str = option(
        "float32",
        "what convolutions compute in: float32; bfloat16, slower on processors without it, not of onnx and litert",
        choices=DTYPES,
    )
    asked: str = option(
        "image_bytes", "the signature that answers where none is named: image_bytes; images for OpenVINO", choices=ASKED
    )
    top: int = option(5, "classes to name", at_least=1)
    warm_up: tuple[int, ...] | None = option(
        (1, 8, 32), "batch sizes that the server tries before it is ready, or none", at_least=1
    )
    int8: str | None = option(None, "a folder of images that decide the ranges of 8-bit numbers; for --format openvino")
    measure: str | None = option(None, "a data set with labels, to tell what 8-bit numbers cost")
    data_dir: str | None = option(None, "where prepared tensorflow-datasets sets lie (else its own folder)")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.dtype == "bfloat16" and not FORMATS[self.format].half:
            halves = ", ".join(name for name, row in FORMATS.items() if row.half)
            raise ValueError(
                f"{self.format} has no convolutions in bfloat16. Choose float32, or one of {halves}. "
                f"Received: {self.format}, {self.dtype}"
            )
        if self.int8 and (self.format != "openvino" or self.dtype != "float32"):
            raise ValueError(
                f"8-bit numbers are for the format openvino, from float32. Received: {self.format}, {self.dtype}"
            )
        if self.measure and not self.int8:
            raise ValueError("`measure` tells what 8-bit numbers cost, and goes with `int8`.")
        if self.data_dir and not self.measure:
            raise ValueError(f"`data_dir` goes with `measure`, whose data set lies there. Received: {self.data_dir!r}")
