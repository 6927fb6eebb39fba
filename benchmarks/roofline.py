"""The least time in which a machine can do a network's convolutions: its roofline.

    python benchmarks/roofline.py --models resnet50 --image-size 224 --batch 256 --precision mixed_bfloat16
    python benchmarks/roofline.py --peaks 989,4800 ...

A convolution and its two gradients multiply and add so many numbers, and read and write so many bytes, each once. The
machine's peaks are what a large product of matrices and a large copy reach, measured with PyTorch, or what `--peaks`
says they are, in teraflop and in gigabytes a second. Each of the three takes as long as its arithmetic or its memory at
these peaks, whichever is longer (Williams, Waterman & Patterson 2009, "Roofline"); a training step, as long as all of
them. Batch norm, activations, sums and the optimizer come to that. What a cache holds may come faster than from memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import harness
from harness import Setting, Subject
from networks import built
from torch_peers import device_of_torch

BYTES = {"float32": 4, "mixed_bfloat16": 2}  # of a number
SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices
COPIED = {"cpu": 2**28, "cuda": 2**32}  # bytes
SECONDS = 0.2  # of each measurement


class Peaks(NamedTuple):
    """What a machine can do: floating-point operations a second, and bytes a second from or to memory."""

    operations: float
    bytes: float


class Convolution(NamedTuple):
    """One of a network.

    Attributes:
        images: what it takes of each image, (height, width, channels).
        kernel: (height, width, channels, filters).
        given: what it makes of each image, (height, width, filters).
        strides: (height, width).
        padding: on each side, (height, width).
    """

    images: tuple[int, int, int]
    kernel: tuple[int, int, int, int]
    given: tuple[int, int, int]
    strides: tuple[int, int]
    padding: tuple[int, int]

    @property
    def of_the_image(self) -> bool:
        """Whether it reads the image itself, whose gradient nobody asks for."""
        return self.images[-1] <= 3

    @property
    def operations(self) -> int:
        """Multiplications and additions an image, in one direction."""
        (height, width, channels, filters), (rows, columns, _) = self.kernel, self.given
        return 2 * rows * columns * height * width * channels * filters

    def numbers(self, batch: int) -> int:
        """How many it reads and writes, in one direction: each that its windows meet, once."""
        (height, width, channels, filters), (rows, columns, _) = self.kernel, self.given
        met = min(self.images[0] * self.images[1], rows * columns * height * width)
        return batch * (met * channels + rows * columns * filters) + height * width * channels * filters


def convolutions(model: str, image_size: int) -> list[Convolution]:
    """Those of this package's network of a name, in their order."""
    import keras

    found = []
    for layer in built(model, image_size).layers:
        if isinstance(layer, keras.layers.Conv2D):
            (height, width, *_), same = layer.kernel.shape, layer.padding == "same"
            padding = (height // 2, width // 2) if same else (0, 0)
            shapes = layer.input.shape[1:], layer.kernel.shape, layer.output.shape[1:]
            found.append(Convolution(*map(tuple, shapes), layer.strides, padding))
    return found


def passes(of: list[Convolution], batch: int, width: int) -> Iterator[tuple[int, int]]:
    """Operations and bytes of each convolution and each of its gradients, of numbers of `width` bytes."""
    for each in of:
        for _ in range(2 if each.of_the_image else 3):
            yield batch * each.operations, width * each.numbers(batch)


def least_seconds(of: list[Convolution], batch: int, width: int, peaks: Peaks) -> float:
    """What a training step's convolutions take at best."""
    return sum(max(count / peaks.operations, moved / peaks.bytes) for count, moved in passes(of, batch, width))


def measured(precision: str) -> Peaks:
    """A machine's peaks, by PyTorch, where it computes."""
    import torch

    device = device_of_torch()
    dtype = torch.bfloat16 if precision == "mixed_bfloat16" else torch.float32
    torch.set_float32_matmul_precision("high")  # as convolutions are computed on GPUs
    side = SIDE[device]
    matrix = torch.randn(side, side, device=device).to(dtype)
    product = torch.empty_like(matrix)
    source = torch.zeros(COPIED[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)

    def rate(call: Callable[[], object], amount: int) -> float:
        """How much a second, of the fastest of several calls behind a first."""
        call()
        best, begun = float("inf"), time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
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


def look(setting: Setting) -> dict[str, float]:
    """The peaks, the work of a training step an image, and the least time for it."""
    batch, width = setting["batch"], BYTES[setting["precision"]]
    peaks = Peaks(*setting["peaks"]) if setting["peaks"] else measured(setting["precision"])
    of = convolutions(setting["model"], setting["image_size"])
    counts, moved = map(sum, zip(*passes(of, batch, width), strict=True))
    return {
        "teraflop_a_second": peaks.operations / 1e12,
        "gigabytes_a_second": peaks.bytes / 1e9,
        "gigaflop": counts / batch / 1e9,
        "megabytes": moved / batch / 1e6,
        "least_microseconds": 1e6 * least_seconds(of, batch, width, peaks) / batch,
    }


MEASURED, GIVEN = "roofline of this machine", "roofline of the peaks given"
SUBJECTS = {name: Subject(look, "torch") for name in (MEASURED, GIVEN)}


def main() -> int:
    parser = harness.options(__doc__, SUBJECTS)
    parser.add_argument("--models", default="resnet50", help="with commas")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--precision", default="float32", choices=BYTES)
    parser.add_argument("--peaks", help="teraflop and gigabytes a second, with a comma")
    arguments = harness.parse(parser, SUBJECTS)
    arguments.only = [GIVEN if arguments.peaks else MEASURED]
    peaks = None
    if arguments.peaks:
        teraflop, gigabytes = map(float, arguments.peaks.split(","))
        peaks = [teraflop * 1e12, gigabytes * 1e9]
    from keras_resnet.models.catalog import find

    for model in arguments.models.split(","):
        case = {"model": model, "depth": find(model).respec().depth, "image_size": arguments.image_size}
        case |= {"batch": arguments.batch, "precision": arguments.precision}
        harness.look_at(SUBJECTS, arguments, case, peaks=peaks)
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
