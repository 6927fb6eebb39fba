"""Inference time of this package's networks on each backend, folded, and in each exported format, and of their peers.

    python benchmarks/inference.py --models resnet18,resnet50 --cores 1,2 --batches 1,8,32 [--json FILE] [--peers FILE]
    python benchmarks/inference.py --models resnet50 --precision mixed_bfloat16

All take float32 images. With `--precision mixed_bfloat16`, the networks of Keras have this dtype policy, and those of
PyTorch run under autocast; exported networks have the precision that their name says, or float32. Times are also given
as shares of the time of torchvision's compiled network. All networks compute the same except those of
keras.applications, see `networks.py`. Contenders that need torchvision where it is not installed, or keras.applications
where it has no network of that depth, are skipped and listed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import harness
from keras_resnet.backend import BACKENDS
from networks import choices
from torch_peers import network, timm_network, torch_device
from workers import Contender, Setting, start_as_command

Predict = Callable[[np.ndarray], Any]  # from float32 images (batch, size, size, 3) of 0 to 255 to probabilities
BASE = "torchvision, compiled"


def predicting(load: Callable[..., Predict], *args: Any, **options: Any) -> Callable[[Setting], Callable[[], Any]]:
    """Returns `Contender.load` for a loader of a network: the call that is timed predicts a batch."""

    def load_call(setting: Setting) -> Callable[[], Any]:
        predict = load(setting, *args, **options)
        shape = setting["size"], setting["image_size"], setting["image_size"], 3
        images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
        return lambda: predict(images)

    return load_call


def keras_file(setting: Setting, file: str) -> Predict:
    """This package's network, run as by the `predict` command."""
    start_as_command()
    from keras_resnet import saving

    return saving.load(Path(setting["folder"], file))[0].predict_on_batch


def keras_applications(setting: Setting) -> Predict:
    """keras.applications' network, which exists with 50, 101 and 152 layers."""
    import keras

    name = setting["model"].replace("resnet", "ResNet")
    if not hasattr(keras.applications, name):
        raise LookupError(f"keras.applications has no {name}")
    size = setting["image_size"]
    keras.config.set_dtype_policy(setting["precision"])
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3)).predict_on_batch


def saved_model(setting: Setting, dtype: str) -> Predict:
    """The exported SavedModel, run by TensorFlow without Keras."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(Path(setting["folder"], dtype, "1")))
    predict = loaded.signatures["serving_default"]
    return lambda images: predict(images=tf.constant(images))["probabilities"].numpy()


def onnx(setting: Setting) -> Predict:
    """The exported ONNX file, run by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    path = Path(setting["folder"], "onnx/1/model.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def litert(setting: Setting) -> Predict:
    """The exported LiteRT file, run by LiteRT with XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter

    path = Path(setting["folder"], "litert/1/model.tflite")
    interpreter = Interpreter(str(path), num_threads=len(os.sched_getaffinity(0)))
    (input_details,), (output_details,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.allocate_tensors()

    def predict(images: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(input_details["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(input_details["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(output_details["index"])

    return predict


def openvino(setting: Setting, folder: str, precision: str) -> Predict:
    """The exported OpenVINO files of a folder, run by OpenVINO in the given precision."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0))}
    path = Path(setting["folder"], folder, "1/model.xml")
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda images: compiled(images)[0]


def torchvision(setting: Setting, compiled: bool, make_network: Callable[..., Any] = network) -> Predict:
    """torchvision's or timm's network, channels last.

    It takes normalised images and returns logits, which is less work than the other networks do.
    """
    import torch

    device, half = torch_device(), setting["precision"] == "mixed_bfloat16"
    model = make_network(setting["model"], setting["peers"]).eval().to(device, memory_format=torch.channels_last)
    call = torch.compile(model) if compiled else model

    def predict(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=half):
            return call(torch.from_numpy(images).to(device).permute(0, 3, 1, 2)).float().cpu().numpy()

    return predict


CONTENDERS = {
    **{f"keras_resnet, {name}": Contender(predicting(keras_file, "model.keras"), name) for name in BACKENDS},
    **{f"keras_resnet, folded, {name}": Contender(predicting(keras_file, "folded.keras"), name) for name in BACKENDS},
    **{f"keras.applications, {name}": Contender(predicting(keras_applications), name) for name in BACKENDS},
    "SavedModel": Contender(predicting(saved_model, "float32")),
    "SavedModel, bfloat16": Contender(predicting(saved_model, "bfloat16")),
    "ONNX Runtime": Contender(predicting(onnx)),
    "LiteRT": Contender(predicting(litert)),
    "OpenVINO": Contender(predicting(openvino, "openvino", "f32")),
    "OpenVINO, bfloat16": Contender(predicting(openvino, "openvino", "bf16")),
    "OpenVINO, int8": Contender(predicting(openvino, "int8", "f32")),
    "timm, eager": Contender(predicting(torchvision, compiled=False, make_network=timm_network)),
    "torchvision, eager": Contender(predicting(torchvision, compiled=False)),
    BASE: Contender(predicting(torchvision, compiled=True)),
}

# Folder and options of `keras_resnet.export` for each contender that runs an exported network.
EXPORTED = {
    "SavedModel": ("float32", {"default_signature": "images", "warm_up": None}),
    "SavedModel, bfloat16": ("bfloat16", {"default_signature": "images", "warm_up": None, "dtype": "bfloat16"}),
    "ONNX Runtime": ("onnx", {"format": "onnx"}),
    "LiteRT": ("litert", {"format": "litert"}),
    "OpenVINO": ("openvino", {"format": "openvino"}),
    "OpenVINO, bfloat16": ("openvino", {"format": "openvino"}),
    "OpenVINO, int8": ("int8", {"format": "openvino", "int8": "images.npy"}),
}


def prepare(model: str, image_size: int, precision: str, folder: Path, names: list[str]) -> None:
    """Writes the files that the contenders load. Weights are random, and so are the images that set 8-bit ranges."""
    start_as_command()
    import keras

    import keras_resnet
    from keras_resnet.exporting.folding import fold
    from keras_resnet.models.catalog import find
    from keras_resnet.preprocessing import normalize

    shape = image_size, image_size, 3
    image = normalize(keras.Input(shape), [124.0, 117.0, 104.0], [58.0, 57.0, 57.0])
    network = find(model)(input_tensor=image, weights=None, dtype=precision, **choices(model))
    network.save(folder / "model.keras")
    fold(network).save(folder / "folded.keras")
    images = np.random.default_rng(0).integers(0, 256, (32, *shape), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    for out, options in dict(EXPORTED[name] for name in names if name in EXPORTED).items():
        options = {key: str(folder / value) if key == "int8" else value for key, value in options.items()}
        keras_resnet.export(network, folder / out, **options)


def main() -> int:
    parser = harness.options(__doc__, CONTENDERS)
    parser.add_argument("--models", default="resnet18,resnet50", help="comma-separated")
    parser.add_argument("--batches", default="1,8,32", help="comma-separated")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.set_defaults(cores="1,2")
    parser.add_argument("--prepare", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    arguments = harness.parse(parser, CONTENDERS)
    if arguments.prepare:
        prepare(arguments.models, arguments.image_size, arguments.precision, arguments.prepare, arguments.only)
        return 0
    backends = ["tensorflow" for name in arguments.only if name in EXPORTED]
    backends += [CONTENDERS[name].backend for name in arguments.only if CONTENDERS[name].backend]
    environment = {**os.environ, "KERAS_BACKEND": (backends or ["torch"])[0], "TF_CPP_MIN_LOG_LEVEL": "3"}
    for model in arguments.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            words = [f"--models={model}", f"--image-size={arguments.image_size}", f"--prepare={folder}"]
            words += [f"--precision={arguments.precision}", *(f"--only={name}" for name in arguments.only)]
            subprocess.run([sys.executable, sys.argv[0], *words], check=True, env=environment)
            batches = harness.numbers(arguments.batches)
            case = {"model": model, "image_size": arguments.image_size, "precision": arguments.precision}
            harness.compare(CONTENDERS, arguments, case, batches, BASE, folder=folder)
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
