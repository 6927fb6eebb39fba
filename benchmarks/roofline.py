"""Roofline of a network's convolutions: the minimum time in which a machine can compute them.

    python benchmarks/roofline.py --models resnet50 --image-size 224 --batch 256 --precision mixed_bfloat16
    python benchmarks/roofline.py --peaks 989,4800 ...

For each convolution and each of its two gradients, the floating-point operations are counted, and the bytes read and
written, each byte once. The machine's peaks are those that a large matrix product and a large copy reach, measured with
PyTorch, or those given by `--peaks`, in teraflop and gigabytes per second. Each of the three takes as long as its
arithmetic or its memory traffic at these peaks, whichever is longer (Williams, Waterman & Patterson 2009, "Roofline");
a training step takes as long as all of them together. Batch norm, activations, additions and the optimizer come on top
of that. Data in a cache may be read faster than from memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import harness
from networks import build
from torch_peers import torch_device
from workers import Setting, Subject

BYTES = {"float32": 4, "mixed_bfloat16": 2}  # per number
SIDE = {"cpu": 2048, "cuda": 8192}  # of the square matrices
COPIED = {"cpu": 2**28, "cuda": 2**32}  # bytes
SECONDS = 0.2  # per measurement


class Peaks(NamedTuple):
    """Peak rates of a machine: floating-point operations per second, and bytes per second from or to memory."""

    operations: float
    bytes: float


class Convolution(NamedTuple):
    """Shapes of a convolution.

    Attributes:
        input: (height, width, channels) for each image.
        kernel: (height, width, channels, filters).
        output: (height, width, filters) for each image.
        strides: (height, width).
        padding: on each side, (height, width).
    """

    input: tuple[int, int, int]
    kernel: tuple[int, int, int, int]
    output: tuple[int, int, int]
    strides: tuple[int, int]
    padding: tuple[int, int]

    @property
    def reads_image(self) -> bool:
        """Whether its input is the image itself, whose gradient is not needed."""
        return self.input[-1] <= 3

    @property
    def operations(self) -> int:
        """Multiplications and additions per image, in one direction."""
        (height, width, channels, filters), (rows, columns, _) = self.kernel, self.output
        return 2 * rows * columns * height * width * channels * filters

    def numbers(self, batch: int) -> int:
        """Numbers read and written in one direction, each once; only input positions within a window are read."""
        (height, width, channels, filters), (rows, columns, _) = self.kernel, self.output
        read = min(self.input[0] * self.input[1], rows * columns * height * width)
        return batch * (read * channels + rows * columns * filters) + height * width * channels * filters


def convolutions(model: str, image_size: int) -> list[Convolution]:
    """Convolutions of this package's network of the given name, in order."""
    import keras

    result = []
    for layer in build(model, image_size).layers:
        if isinstance(layer, keras.layers.Conv2D):
            (height, width, *_), same = layer.kernel.shape, layer.padding == "same"
            padding = (height // 2, width // 2) if same else (0, 0)
            shapes = layer.input.shape[1:], layer.kernel.shape, layer.output.shape[1:]
            result.append(Convolution(*map(tuple, shapes), layer.strides, padding))
    return result


def passes(layers: list[Convolution], batch: int, width: int) -> Iterator[tuple[int, int]]:
    """Yields the operations and bytes of each convolution and each of its gradients, for numbers of `width` bytes."""
    for layer in layers:
        for _ in range(2 if layer.reads_image else 3):
            yield batch * layer.operations, width * layer.numbers(batch)


def minimum_seconds(layers: list[Convolution], batch: int, width: int, peaks: Peaks) -> float:
    """Minimum seconds of the convolutions of a training step; see `passes` for the arguments."""
    return sum(max(count / peaks.operations, moved / peaks.bytes) for count, moved in passes(layers, batch, width))


def measured_peaks(precision: str) -> Peaks:
    """Measures the peaks of the device that PyTorch computes on."""
    import torch

    device = torch_device()
    dtype = torch.bfloat16 if precision == "mixed_bfloat16" else torch.float32
    torch.set_float32_matmul_precision("high")  # as convolutions are computed on GPUs
    side = SIDE[device]
    matrix = torch.randn(side, side, device=device).to(dtype)
    product = torch.empty_like(matrix)
    source = torch.zeros(COPIED[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def rate(call: Callable[[], object], amount: int) -> float:
        """Amount per second of the fastest of several calls, after one that does not count."""
        call()
        best, begin = float("inf"), time.perf_counter()
        while time.perf_counter() - begin < SECONDS:
            if device == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return amount / best

    return Peaks(
        rate(lambda: torch.mm(matrix, matrix, out=product), 2 * side**3),
        rate(lambda: target.copy_(source), 2 * COPIED[device]),
    )


def measure(setting: Setting) -> dict[str, float]:
    """Peaks of the machine, and the work and the minimum time of a training step's convolutions per image."""
    batch, width = setting["batch"], BYTES[setting["precision"]]
    peaks = Peaks(*setting["peaks"]) if setting["peaks"] else measured_peaks(setting["precision"])
    layers = convolutions(setting["model"], setting["image_size"])
    counts, moved = map(sum, zip(*passes(layers, batch, width), strict=True))
    return {
        "teraflop_a_second": peaks.operations / 1e12,
        "gigabytes_a_second": peaks.bytes / 1e9,
        "gigaflop": counts / batch / 1e9,
        "megabytes": moved / batch / 1e6,
        "least_microseconds": 1e6 * minimum_seconds(layers, batch, width, peaks) / batch,
    }


MEASURED, GIVEN = "roofline of this machine", "roofline of the peaks given"
SUBJECTS = {name: Subject(measure, "torch") for name in (MEASURED, GIVEN)}


def main() -> int:
    parser = harness.options(__doc__, SUBJECTS)
    parser.add_argument("--models", default="resnet50", help="comma-separated")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--precision", default="float32", choices=BYTES)
    parser.add_argument("--peaks", help="teraflop and gigabytes per second, comma-separated")
    arguments = harness.parse(parser, SUBJECTS)
    arguments.only = [GIVEN if arguments.peaks else MEASURED]
    peaks = None
    if arguments.peaks:
        teraflop, gigabytes = map(float, arguments.peaks.split(","))
        peaks = [teraflop * 1e12, gigabytes * 1e9]
    from keras_resnet.models.catalog import find

    for model in arguments.models.split(","):
        case = {"model": model, "depth": find(model).spec.depth, "image_size": arguments.image_size}
        case |= {"batch": arguments.batch, "precision": arguments.precision}
        harness.measure(SUBJECTS, arguments, case, peaks=peaks)
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
