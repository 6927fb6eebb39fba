"""How long a training step takes: of this package's networks on each backend, of Keras's own, and of PyTorch's.

    python benchmarks/training.py --models resnet50 --image-sizes 96 --batches 16 [--precision mixed_bfloat16]
    python benchmarks/training.py --models resnet20,resnet110 --image-sizes 32 --batches 128

A step of SGD with momentum and weight decay on images that lie on the device, through `train_on_batch` or a plain loop
of PyTorch; "ten steps at once" are as `fit` takes them, and nobody waits between them. "Keras's layers" are the same
network without what `keras_resnet/models/fast_layers.py` does, with Keras's SGD. Times are also given as shares of
those of torchvision's network, eager and channels last; of CIFAR networks, of the same network in PyTorch. All compute
the same but keras.applications, see `networks.py`. "Its convolutions alone" are those of this package's network, by
PyTorch, forward and backward: no step that calls these one after the other is shorter. Their roofline is no time that
was taken, but the least in which the machine could do them from memory, see `roofline.py`; what caches hold, as the
maps of CIFAR networks, may be done in less."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from functools import partial

import harness
import steps
from harness import Contender, Subject
from torch_peers import timm_network

BASE = "PyTorch, eager"
BACKENDS = ("tensorflow", "jax", "torch")
# How a network may be cut into its units, of which comparisons of memory and of depth speak.
WAYS = {
    "": {},
    ", rematerialized": {"rematerialize": True},
    ", in loops": {"loop": True},
    ", rematerialized, in loops": {"rematerialize": True, "loop": True},
}
CONTENDERS = {
    **{f"keras_resnet, {name}": Contender(partial(steps.timed, steps.ours), name) for name in BACKENDS},
    **{
        f"keras_resnet, {name}, ten steps at once": Contender(steps.multi_step_function, name, computes=True)
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
    f"{BASE}, memory kept": Contender(partial(steps.timed, partial(steps.pytorch, compile=False, kept=True))),
    "timm, eager": Contender(partial(steps.timed, partial(steps.pytorch, compile=False, of=timm_network))),
    "timm, compiled": Contender(partial(steps.timed, partial(steps.pytorch, compile=True, of=timm_network))),
    "PyTorch, compiled": Contender(partial(steps.timed, partial(steps.pytorch, compile=True))),
    "its convolutions alone": Contender(partial(steps.timed, steps.convolutions), "torch"),
    "its convolutions' roofline": Contender(steps.convolutions_at_best, "torch", computes=True),
}


def by_depth(description: str | None, subjects: Mapping[str, Subject]) -> int:
    """The main function of comparisons of networks that differ in their depth; returns the exit status."""
    parser = harness.options(description, subjects)
    parser.add_argument("--models", default="resnet20,resnet56,resnet110", help="with commas")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--image-size", type=int, default=32)
    parser.set_defaults(rounds=1)
    arguments = harness.parse(parser, subjects)
    from keras_resnet.models.catalog import find

    for model in arguments.models.split(","):
        case = {"model": model, "depth": find(model).respec().depth, "image_size": arguments.image_size}
        case |= {"batch": arguments.batch, "precision": "float32"}
        harness.look_at(subjects, arguments, case)
    return harness.status(arguments)


def main() -> int:
    parser = harness.options(__doc__, CONTENDERS)
    parser.add_argument("--models", default="resnet50", help="with commas")
    parser.add_argument("--batches", default="16", help="with commas")
    parser.add_argument("--image-sizes", default="96", help="with commas")
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16"))
    parser.add_argument("--flax", metavar="FILE", help="models.py of flax's ImageNet example, where it is at hand")
    arguments = harness.parse(parser, CONTENDERS)
    for model, size in itertools.product(arguments.models.split(","), harness.numbers(arguments.image_sizes)):
        case = {"model": model, "image_size": size, "precision": arguments.precision}
        harness.compare(CONTENDERS, arguments, case, harness.numbers(arguments.batches), BASE, flax=arguments.flax)
    return harness.status(arguments)


if __name__ == "__main__":
    sys.exit(main())
