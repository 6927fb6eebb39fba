"""The formats beside the SavedModel, each one file, OpenVINO's two: from float32 images of 0 to 255 to probabilities.

Their converters are others' packages, and all are given the same: a TensorFlow graph whose variables are constants.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ..evaluation.views import shapes
from ..extras import install
from .choices import FORMATS
from .saved_model import probabilities

OPSET = 18  # of ONNX; every runtime since 2023 reads it


def _onnx(graph: Any, path: Path) -> None:
    """ONNX, by tf2onnx."""
    import tf2onnx

    (image,), (answer,) = graph.inputs, graph.outputs
    tf2onnx.convert.from_graph_def(
        graph.graph.as_graph_def(),
        input_names=[image.name],
        output_names=[answer.name],
        opset=OPSET,
        tensors_to_rename={image.name: "images", answer.name: "probabilities"},
        output_path=str(path),
    )


def _litert(graph: Any, path: Path) -> None:
    """LiteRT, by TensorFlow's converter."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph])
    path.write_bytes(converter.convert())


def _openvino(graph: Any, path: Path) -> None:
    """OpenVINO's intermediate representation, in full precision."""
    import openvino

    openvino.save_model(openvino_model(graph), str(path), compress_to_fp16=False)


def openvino_model(graph: Any) -> Any:
    """A frozen graph as OpenVINO has it in memory."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pb"
        path.write_bytes(graph.graph.as_graph_def().SerializeToString())
        model = openvino.convert_model(path)
    model.inputs[0].get_tensor().set_names({"images"})
    model.outputs[0].get_tensor().set_names({"probabilities"})
    return model


WRITERS: dict[str, Callable[[Any, Path], None]] = {"onnx": _onnx, "litert": _litert, "openvino": _openvino}


def write_format(model: keras.Model, folder: Path, name: str) -> None:
    """Writes a model in one of the formats of `WRITERS` into a folder that is there.

    Raises:
        ValueError: the package that converts is not installed.
    """
    row = FORMATS[name]
    need(row.needs, f"The format {name} needs")
    with quiet():
        WRITERS[name](frozen(model), folder / row.file)


def need(package: str, why: str) -> None:
    """Makes sure that a package is there.

    Raises:
        ValueError: it is not installed.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"{why} {package}: {install('export')}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps from the terminal how far converters are, and which of TensorFlow's calls they make are old."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def frozen(model: keras.Model) -> Any:
    """The graph from images to probabilities, with its variables as constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape, _ = shapes(model)
    function = tf.function(probabilities(model), input_signature=[tf.TensorSpec([None, *shape], tf.float32, "images")])
    return convert_variables_to_constants_v2(function.get_concrete_function())
