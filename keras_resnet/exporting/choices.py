"""Options of an export. This module does not import Keras: the command line is parsed before a backend is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypedDict

from ..options import check_fields, option


class Format(NamedTuple):
    """An export format.

    Attributes:
        file: name of its (first) file.
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
SIGNATURES = ("image_bytes", "images")
CHANNELS = (1, 3)  # possible numbers of channels of image files


@dataclass(frozen=True)
class Choices:
    """Options of an export.

    Attributes:
        format: "saved_model", "onnx", "litert" or "openvino".
        fold: whether batch norm is folded into the convolutions, see `keras_resnet.exporting.folding.fold`.
        dtype: compute dtype of the convolutions: "float32", or for the formats "saved_model" and "openvino" also
            "bfloat16", for processors that support it; on others it is two to three times as slow as float32.
        default_signature: the signature of a SavedModel that is also its "serving_default": "image_bytes", or
            "images", which then returns probabilities only, so that OpenVINO, which has no strings, can read the
            SavedModel.
        top: number of classes that are named.
        warm_up: batch sizes for which the server of a SavedModel warms up before it is ready; None or () for none.
        int8: a folder of images that calibrate a quantisation of the convolutions to 8-bit integers. For the format
            "openvino".
        measure: a labelled data set on which the errors with and without the quantisation are measured.
        data_dir: folder of the prepared data sets of tensorflow-datasets, for `measure`; None for their default folder.

    Raises:
        ValueError: an unknown value, or options that exclude each other.
    """

    format: str = option("saved_model", f"format to write: {', '.join(FORMATS)}", choices=FORMATS)
    fold: bool = option(True, "fold batch norm into the convolutions")
    dtype: str = option(
        "float32",
        "compute dtype of the convolutions: float32, or bfloat16 (slow on processors without it; not for onnx, litert)",
        choices=DTYPES,
    )
    default_signature: str = option(
        "image_bytes", "default signature of a SavedModel: image_bytes, or images for OpenVINO", choices=SIGNATURES
    )
    top: int = option(5, "number of classes to name", at_least=1)
    warm_up: tuple[int, ...] | None = option(
        (1, 8, 32), "batch sizes for which a server warms up before it is ready, or none", at_least=1
    )
    int8: str | None = option(
        None,
        "folder of images to calibrate a quantisation to 8-bit integers with; for --format openvino",
        metavar="FOLDER",
    )
    measure: str | None = option(None, "labelled data set on which to measure the error of the quantisation")
    data_dir: str | None = option(
        None, "folder of prepared tensorflow-datasets data sets [its own folder]", metavar="FOLDER"
    )

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
                f"`int8` needs `format` 'openvino' and `dtype` 'float32'. Received: {self.format!r}, {self.dtype!r}"
            )
        if self.measure and not self.int8:
            raise ValueError(f"`measure` needs `int8`, whose error it measures. Received: {self.measure!r}")
        if self.data_dir and not self.measure:
            raise ValueError(f"`data_dir` needs `measure`, whose data set is there. Received: {self.data_dir!r}")


class ExportChoices(TypedDict, total=False):
    """The fields of `Choices` as keyword arguments of `export`."""

    format: str
    fold: bool
    dtype: str
    default_signature: str
    top: int
    warm_up: tuple[int, ...] | None
    int8: str | None
    measure: str | None
    data_dir: str | None
