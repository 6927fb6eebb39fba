"""Export to ONNX, LiteRT and OpenVINO: files (two for OpenVINO) from float32 images of 0 to 255 to probabilities.

The converters are third-party packages. All receive the same TensorFlow graph, whose variables are constants.
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

from ..evaluation.outputs import shapes
from ..extras import install
from .choices import FORMATS
from .saved_model import probabilities

OPSET = 18  # ONNX operator set, supported by every runtime since 2023


def _onnx(graph: Any, path: Path) -> None:
    """Writes ONNX with tf2onnx."""
    import tf2onnx

    (image,), (output,) = graph.inputs, graph.outputs
    tf2onnx.convert.from_graph_def(
        graph.graph.as_graph_def(),
        input_names=[image.name],
        output_names=[output.name],
        opset=OPSET,
        tensors_to_rename={image.name: "images", output.name: "probabilities"},
        output_path=str(path),
    )


def _litert(graph: Any, path: Path) -> None:
    """Writes LiteRT with TensorFlow's converter, with a signature that names the input and the output."""
    module = tf.Module()
    module.serve = tf.function(
        lambda images: {"probabilities": graph(images)[0]}, input_signature=[tf.TensorSpec.from_tensor(graph.inputs[0])]
    )
    with tempfile.TemporaryDirectory() as folder:
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # those need variables
        tf.saved_model.save(module, folder, {"serving_default": module.serve}, options)
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def _openvino(graph: Any, path: Path) -> None:
    """Writes OpenVINO's intermediate representation in full precision."""
    import openvino

    openvino.save_model(openvino_model(graph), str(path), compress_to_fp16=False)


def openvino_model(graph: Any) -> Any:
    """Converts a frozen graph to an OpenVINO model in memory."""
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
    """Writes a model in one of the formats of `WRITERS` to an existing folder.

    Raises:
        ValueError: the converter's package is not installed.
    """
    row = FORMATS[name]
    need(row.needs, f"The format {name} needs")
    with quiet():
        WRITERS[name](frozen(model), folder / row.file)


def need(package: str, why: str) -> None:
    """Checks that a package is installed.

    Args:
        package: the module to import.
        why: beginning of the error message, up to the verb, such as "The format onnx needs".

    Raises:
        ValueError: the package is not installed.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ValueError(f"{why} {package}: {install('export')}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context manager that suppresses the progress output and deprecation warnings of converters."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def frozen(model: keras.Model) -> Any:
    """Returns the graph from images to probabilities, with variables converted to constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape, _ = shapes(model)
    function = tf.function(probabilities(model), input_signature=[tf.TensorSpec([None, *shape], tf.float32, "images")])
    return convert_variables_to_constants_v2(function.get_concrete_function())
