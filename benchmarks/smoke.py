"""Runs each benchmark at toy size, and the report on their results, to check that they work. It measures nothing.

    python benchmarks/smoke.py

As many benchmarks run at a time as there are cores, up to four.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

import report
from keras_resnet.backend import BACKENDS
from keras_resnet.host import cores

PHOTOGRAPHS = 25
HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
PEERS = SHARED / "peers" / "torchvision_on_cpu.py"
ROUND = ["--rounds", "1", "--seconds", "0.01", "--cores", "2"]


# XLA compiles with little optimization, since nothing is measured; see `tests/conftest.py`.
QUICKLY = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
QUICKLY += " --xla_cpu_parallel_codegen_split_count=1"


def only(*names: str) -> list[str]:
    """Command-line arguments that select these contenders."""
    return [f"--only={name}" for name in names]


OURS = only(*(f"keras_resnet, {name}" for name in BACKENDS))
# Arguments of each benchmark; "{photographs}" is replaced by a folder. A name begins with that of the benchmark.
TOYS = {
    "training": ["--models", "resnet20", "--image-sizes", "32", "--batches", "2", *ROUND, *OURS],
    "training, two batch sizes": ["--models", "resnet20", "--image-sizes", "32", "--batches", "2,4", *ROUND],
    "inference": ["--models", "resnet18", "--image-size", "32", "--batches", "1", *ROUND, *OURS],
    "compile_time": ["--models", "resnet20,resnet32", "--batch", "2", *ROUND],
    "runs": ["digits", "--epochs", "2", "--model", "resnet8", "--images-on-device", *ROUND[:2], *ROUND[4:]],
    "roofline": ["--models", "resnet20", "--image-size", "32", "--batch", "2", *ROUND[:2], *ROUND[4:]],
    "memory": ["--models", "resnet20", "--batch", "2", *ROUND, *only("keras_resnet, torch, rematerialized")],
    "input_pipeline": ["--photographs", "{photographs}/train/all", *ROUND],
    "fed_training": ["folder:{photographs}", "--model", "resnet18", "--size", "32", "--batch-size", "4"],
}
# A contender of each kind, and some of them on all backends: every process takes seconds to import one.
TOYS["training"] += only("its convolutions alone", "its convolutions' roofline", "PyTorch, eager")
TOYS["training"] += only("Keras's layers, torch", "keras_resnet, jax, a device a core")
TOYS["training"] += only("keras_resnet, jax, ten steps at once", "keras_resnet, torch, ten steps at once")
TOYS["training, two batch sizes"] += only("PyTorch, eager")
TOYS["inference"] += only("keras_resnet, folded, torch", "keras.applications, torch", "SavedModel", "ONNX Runtime")
TOYS["inference"] += only("SavedModel, bfloat16", "LiteRT", "OpenVINO", "OpenVINO, bfloat16", "OpenVINO, int8")
TOYS["inference"] += only("timm, eager", "torchvision, eager", "torchvision, compiled")
TOYS["compile_time"] += only("keras_resnet, torch", "Keras's layers, torch", "PyTorch, eager")
TOYS["runs"] += only("keras_resnet, torch")
TOYS["fed_training"] += ["--steps", "2", "--turns", "1", *only("keras_resnet, torch")]
# The plain script needs colour images of ten classes, and torchvision, which the tests do not require.
if SHARED.is_dir() and importlib.util.find_spec("torchvision"):
    TOYS["runs, a plain script"] = ["cifar10", "--data-dir", str(SHARED / "data" / "tfds"), "--images", "256"]
    TOYS["runs, a plain script"] += ["--epochs", "1", *ROUND[:2], *ROUND[4:], *only("PyTorch, a plain script")]


def draw_photographs(folder: Path) -> None:
    """Writes photographs of noise, of one class, to train on and to test on."""
    import cv2

    rng = np.random.default_rng(0)
    for side in ("train", "val"):
        (folder / side / "all").mkdir(parents=True)
        for number in range(PHOTOGRAPHS):
            image = cv2.resize(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8), (400, 300))
            cv2.imwrite(str(folder / side / "all" / f"{number:02}.jpg"), image)


def run(folder: Path, name: str) -> None:
    """Runs a benchmark at toy size, prints what it printed, and checks that it wrote results into `folder`."""
    peers = ["--peers", str(PEERS)] if PEERS.exists() else []
    toy = [word.format(photographs=folder / "photographs") for word in TOYS[name]]
    path = folder / f"{name}.json"
    command = [sys.executable, str(HERE / f"{name.partition(',')[0]}.py"), *toy, *peers, "--json", str(path)]
    quickly = f"{os.environ.get('XLA_FLAGS', '')} {QUICKLY}".strip()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "XLA_FLAGS": quickly}
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    print(f"=== {name}\n{done.stdout}", flush=True)
    assert done.returncode == 0, f"{name} ended with status {done.returncode}"
    assert json.loads(path.read_text(encoding="utf-8"))["results"], name


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(min(4, cores())) as pool:
        draw_photographs(Path(folder, "photographs"))
        list(pool.map(partial(run, Path(folder)), TOYS))  # raises the first error
        report.main(Path(folder))
        text = Path(folder, "README.md").read_text(encoding="utf-8")
        for name in TOYS:
            assert f"## {name}\n" in text and Path(folder, f"{name}.png").stat().st_size > 1000, name
    print("\nEach benchmark ran.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
