"""How long networks take to answer: this package's on each backend, folded, in each exported format, and others'.

    python benchmarks/inference.py --models resnet18,resnet50 --cores 1,2 --batches 1,8,32 [--json FILE] [--peers FILE]

Every contender is a process of its own, on as many cores as are asked for, its network loaded and warm. They answer in
turns, round by round, so that whatever else the machine does meets all of them. Medians of rounds and their spread are
printed, and each contender's time as a share of torchvision's compiled one.

`--peers` names a Python file that makes torchvision importable where its own wheel is not; without torchvision, and
without keras.applications' network of that depth, these contenders are left out, by name.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Answer = Callable[[np.ndarray], Any]  # from float32 images (batch, 224, 224, 3) of 0 to 255 to probabilities
SIZE = 224
BASE = "torchvision compiled"


def keras_model(folder: Path, name: str) -> Answer:
    """This package's network as `predict` runs it."""
    import keras

    return keras.saving.load_model(folder / name, compile=False).predict_on_batch


def keras_applications(model: str) -> Answer:
    """keras.applications' network; there is one of 50, 101 and 152 layers."""
    import keras

    made = {"resnet50": "ResNet50", "resnet101": "ResNet101", "resnet152": "ResNet152"}.get(model)
    if made is None:
        raise LookupError(f"keras.applications has no {model}")
    return getattr(keras.applications, made)(weights=None).predict_on_batch


def saved_model(folder: Path) -> Answer:
    """The SavedModel, in TensorFlow without Keras."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / "saved_model" / "1"))
    answer = loaded.signatures["serving_default"]
    return lambda images: answer(images=tf.constant(images))["probabilities"].numpy()


def onnx(folder: Path) -> Answer:
    """ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(folder / "onnx/1/model.onnx", options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


def litert(folder: Path) -> Answer:
    """LiteRT with XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(folder / "litert/1/model.tflite"), num_threads=len(os.sched_getaffinity(0)))
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(images: np.ndarray) -> np.ndarray:
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(taken["index"], images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(taken["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return answer


def openvino(folder: Path, name: str, precision: str) -> Answer:
    """OpenVINO."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0))}
    compiled = openvino.Core().compile_model(str(folder / name / "1/model.xml"), "CPU", settings)
    return lambda images: compiled(images)[0]


def torchvision(model: str, peers: str | None, compiled: bool) -> Answer:
    """torchvision's network, channels last; normalised images are no part of it."""
    import torch

    if peers:
        runpy.run_path(peers)
    try:
        import torchvision.models
    except ImportError as error:
        raise LookupError(f"torchvision: {error}") from error
    network = getattr(torchvision.models, model)(weights=None).eval().to(memory_format=torch.channels_last)
    call = torch.compile(network) if compiled else network

    def answer(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return call(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()

    return answer


# A row a contender: the backend of Keras, if it needs one, and what makes it answer.
CONTENDERS: dict[str, tuple[str | None, Callable[[argparse.Namespace], Answer]]] = {
    **{
        f"{name}, {backend}": (backend, lambda asked, file=file: keras_model(asked.folder, file))
        for backend in ("tensorflow", "jax", "torch")
        for name, file in (("keras_resnet", "model.keras"), ("folded", "folded.keras"))
    },
    **{
        f"keras.applications, {backend}": (backend, lambda asked: keras_applications(asked.model))
        for backend in ("tensorflow", "jax", "torch")
    },
    "SavedModel": (None, lambda asked: saved_model(asked.folder)),
    "ONNX Runtime": (None, lambda asked: onnx(asked.folder)),
    "LiteRT": (None, lambda asked: litert(asked.folder)),
    "OpenVINO": (None, lambda asked: openvino(asked.folder, "openvino", "f32")),
    "OpenVINO, int8": (None, lambda asked: openvino(asked.folder, "int8", "f32")),
    "torchvision eager": (None, lambda asked: torchvision(asked.model, asked.peers, False)),
    BASE: (None, lambda asked: torchvision(asked.model, asked.peers, True)),
}


def work(asked: argparse.Namespace) -> None:
    """A contender: loads its network, then reads batch sizes and tells seconds a call, until there are no more."""
    told = os.dup(1)
    os.dup2(2, 1)  # whatever libraries print is no answer
    with os.fdopen(told, "w", buffering=1) as out:
        try:
            answer = CONTENDERS[asked.work][1](asked)
        except LookupError as error:
            print(json.dumps({"left out": str(error)}), file=out)
            return
        print(json.dumps({"ready": asked.work}), file=out)
        images = np.random.default_rng(0).uniform(0, 255, (asked.largest, SIZE, SIZE, 3)).astype("float32")
        warm = set()
        for line in sys.stdin:
            batch = int(line)
            seconds = []
            if batch not in warm:
                warm.add(batch)
                for _ in range(2):
                    answer(images[:batch])
            while len(seconds) < 3 or sum(seconds) < asked.seconds:
                begun = time.perf_counter()
                answer(images[:batch])
                seconds.append(time.perf_counter() - begun)
            print(json.dumps(statistics.median(seconds)), file=out)


class Contender:
    """A process that answers, and how long it took."""

    def __init__(self, name: str, asked: argparse.Namespace, model: str, cores: int, folder: Path) -> None:
        backend, _ = CONTENDERS[name]
        words = ["--work", name, "--model", model, "--folder", str(folder), "--seconds", str(asked.seconds)]
        words += ["--batches", asked.batches] + (["--peers", asked.peers] if asked.peers else [])
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": backend or "tensorflow"}
        self.name, self.rounds = name, []
        self.process = subprocess.Popen(
            [sys.executable, __file__, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            env={**environment, "CUDA_VISIBLE_DEVICES": ""},
            preexec_fn=lambda: os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:cores])),
        )
        self.state = json.loads(self.process.stdout.readline() or '{"left out": "it ended"}')

    def ask(self, batch: int) -> float:
        """Seconds a call."""
        self.process.stdin.write(f"{batch}\n")
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


PREPARE = """
import sys
import keras, numpy as np, keras_resnet
from keras_resnet.exporting.folding import fold
from keras_resnet.models.catalog import find
from keras_resnet.preprocessing import normalize
name, folder = sys.argv[1:]
image = keras.Input((224, 224, 3))
inside = normalize(image, [124.0, 117.0, 104.0], [58.0, 57.0, 57.0])
model = find(name)(input_tensor=inside, weights=None)
model.save(f"{folder}/model.keras")
fold(model).save(f"{folder}/folded.keras")
np.save(f"{folder}/images.npy", np.random.default_rng(0).integers(0, 256, (32, 224, 224, 3), dtype=np.uint8))
common = {"warm_up": None}
keras_resnet.export(model, f"{folder}/saved_model", asked="images", **common)
for format in ("onnx", "litert", "openvino"):
    keras_resnet.export(model, f"{folder}/{format}", format=format, **common)
keras_resnet.export(model, f"{folder}/int8", format="openvino", int8=f"{folder}/images.npy", **common)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="resnet18,resnet50")
    parser.add_argument("--cores", default="1,2")
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="a round of a contender, at least three calls")
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="this contender; can be said several times")
    parser.add_argument("--peers", metavar="FILE")
    parser.add_argument("--json", metavar="FILE", help="where to write the result")
    for hidden in ("--work", "--model"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    batches = [int(batch) for batch in asked.batches.split(",")]
    asked.largest = max(batches)
    if asked.work:
        work(asked)
        return
    names, results = asked.only or list(CONTENDERS), []
    for model in asked.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
            subprocess.run([sys.executable, "-c", PREPARE, model, folder], check=True, env=environment)
            for cores in map(int, asked.cores.split(",")):
                results += compare(names, asked, model, cores, Path(folder), batches)
    if asked.json:
        from keras_resnet.saving import write_json

        write_json(Path(asked.json), {"machine": machine(), "results": results})


def compare(
    names: list[str], asked: argparse.Namespace, model: str, cores: int, folder: Path, batches: list[int]
) -> list[dict[str, Any]]:
    """Times the contenders in turns, and prints a table."""
    contenders = [Contender(name, asked, model, cores, folder) for name in names]
    for contender in contenders:
        if "left out" in contender.state:
            print(f"left out: {contender.name} ({contender.state['left out']})")
    there = [contender for contender in contenders if "ready" in contender.state]
    results = []
    for batch in batches:
        rounds: dict[str, list[float]] = {contender.name: [] for contender in there}
        for _ in range(asked.rounds):
            for contender in there:
                rounds[contender.name].append(1000 * contender.ask(batch) / batch)
        base = statistics.median(rounds[BASE]) if BASE in rounds else None
        print(f"\n{model}, {cores} core{'s' if cores > 1 else ''}, batches of {batch}: milliseconds an image")
        for name, times in sorted(rounds.items(), key=lambda pair: statistics.median(pair[1])):
            median = statistics.median(times)
            share = f"{median / base:6.2f} of {BASE}" if base else ""
            print(f"  {name:32}{median:9.2f}  ({min(times):.2f} to {max(times):.2f}){share}", flush=True)
            case = {"model": model, "cores": cores, "batch": batch, "contender": name}
            results.append({**case, "milliseconds": median, "from": min(times), "to": max(times)})
    for contender in there:
        contender.end()
    return results


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import importlib.metadata

    packages = ("keras", "tensorflow", "jax", "torch", "onnxruntime", "ai-edge-litert", "openvino", "nncf")
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
    return {"processor": name, "versions": {package: importlib.metadata.version(package) for package in packages}}


if __name__ == "__main__":
    main()
