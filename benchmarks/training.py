"""Time of a training step of this package's networks on each backend, of Keras's own networks, and of PyTorch's.

    python benchmarks/training.py --models resnet50 --image-sizes 96 --batches 16 [--precision mixed_bfloat16]
    python benchmarks/training.py --models resnet20,resnet110 --image-sizes 32 --batches 128

A step is one of SGD with momentum and weight decay on images that are already on the device, taken by `train_on_batch`
or by a plain PyTorch loop. "Ten steps at once" are taken as by `fit`, without waiting in between. With "a device a
core", JAX treats each core as a device. "Keras's layers" is the same network without the fast layers of
`keras_resnet/models/fast_layers.py`, with Keras's SGD. With "memory kept", freed memory stays with the process, as it
does in this package's command. Times are also given as shares of the time of torchvision's network, eager and channels
last; for CIFAR networks, of the same network in PyTorch. All networks compute the same except those of
keras.applications, see `networks.py`.

"Its convolutions alone" are the convolutions of this package's network run by PyTorch, forward and backward: no step
that calls them one after the other can be shorter. "Its convolutions' roofline" is not measured: it is the minimum time
in which the machine can compute them from memory, see `roofline.py`. Data that fit into caches, such as the feature
maps of CIFAR networks, may take less.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from functools import partial

import harness
import steps
from keras_resnet.backend import BACKENDS
from torch_peers import timm_network
from workers import Contender, Subject

BASE = "PyTorch, eager"
# Options of `split_into_units`, by the suffix of a contender's name; for comparisons of memory and of depth.
SPLITS = {
    "": {},
    ", rematerialized": {"rematerialize": True},
    ", in loops": {"loop": True},
    ", rematerialized, in loops": {"rematerialize": True, "loop": True},
}
CONTENDERS = {
    **{f"keras_resnet, {name}": Contender(partial(steps.timed, steps.ours), name) for name in BACKENDS},
    **{
        f"keras_resnet, {name}, ten steps at once": Contender(steps.multi_step_function, name, returns_seconds=True)
        for name in ("jax", "torch")
    },
    "keras_resnet, jax, a device a core": Contender(partial(steps.timed, steps.on_each_core), "jax"),
    **{
        f"Keras's layers, {name}": Contender(partial(steps.timed, partial(steps.ours, as_built=False)), name)
        for name in BACKENDS
    },
    **{
        f"keras.applications, {name}": Contender(partial(steps.timed, steps.keras_applications), name)
        for name in BACKENDS
    },
    **{f"KerasHub, {name}": Contender(partial(steps.timed, steps.keras_hub), name) for name in BACKENDS},
    "flax's example": Contender(partial(steps.timed, steps.flax), "jax"),
    BASE: Contender(partial(steps.timed, partial(steps.pytorch, compile=False))),
    f"{BASE}, memory kept": Contender(partial(steps.timed, partial(steps.pytorch, compile=False, keep_memory=True))),
    "timm, eager": Contender(partial(steps.timed, partial(steps.pytorch, compile=False, make_network=timm_network))),
    "timm, compiled": Contender(partial(steps.timed, partial(steps.pytorch, compile=True, make_network=timm_network))),
    "PyTorch, compiled": Contender(partial(steps.timed, partial(steps.pytorch, compile=True))),
    "its convolutions alone": Contender(partial(steps.timed, steps.convolutions), "torch"),
    "its convolutions' roofline": Contender(steps.convolutions_at_best, "torch", returns_seconds=True),
}


def by_depth(description: str | None, subjects: Mapping[str, Subject]) -> int:
    """Main function of comparisons of networks of different depths; returns the exit status."""
    parser = harness.options(description, subjects)
    parser.add_argument("--models", default="resnet20,resnet56,resnet110", help="comma-separated")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--image-size", type=int, default=32)
    parser.set_defaults(rounds=1)
    arguments = harness.parse(parser, subjects)
    from keras_resnet.models.catalog import find

    for model in arguments.models.split(","):
        case = {"model": model, "depth": find(model).spec.depth, "image_size": arguments.image_size}
        case |= {"batch": arguments.batch, "precision": "float32"}
        harness.measure(subjects, arguments, case)
    return harness.status(arguments)


def main() -> int:
    parser = harness.options(__doc__, CONTENDERS)
    parser.add_argument("--models", default="resnet50", help="comma-separated")
    parser.add_argument("--batches", default="16", help="comma-separated")
    parser.add_argument("--image-sizes", default="96", help="comma-separated")
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--flax", metavar="FILE", help="models.py of flax's ImageNet example, if available")
    arguments = harness.parse(parser, CONTENDERS)
    for model, size in itertools.product(arguments.models.split(","), harness.numbers(arguments.image_sizes)):
        case = {"model": model, "image_size": size, "precision": arguments.precision}
        harness.compare(CONTENDERS, arguments, case, harness.numbers(arguments.batches), BASE, flax=arguments.flax)
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
