"""`Recipe`: everything that decides a training run, as data."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..models.catalog import find
from ..models.spec import Spec, as_choices, option
from ..models.spec import completed as completed_choices
from ..options import check_types, shown

SCHEDULES = ("step", "plateau", "cosine", "linear")
OPTIMIZERS = ("sgd", "muon")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
DECAYED = ("all", "kernels")
MEANS = ("pixel", "channel", "weights")
CROPS = ("scale", "aspect_ratio")
COLORS = ("none", "pca")
# Which of these apply, the data set knows.
AUGMENTATION = ("flip", "pad", "cutout", "size", "crop", "scales", "color")
VIEWS = (*AUGMENTATION, "first_size", "test_size", "test_resize")
# What each choice by name may be.
CHOICES = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "decayed": DECAYED,
    "mean": (*MEANS, None),
    "crop": (*CROPS, None),
    "color": (*COLORS, None),
}
GROWTH = 32  # pixels by which photographs grow during a run
# What recipes mean that were written down before they could say it.
LATER = {"optimizer": "sgd", "kernel_rate": 0.1, "kernel_momentum": 0.6}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run. The defaults are the CIFAR recipe of both papers.

    Where None stands for the data set's own way, `resolve` puts that in its place.

    He et al. 2015, section 4.2: SGD with momentum 0.9, weight decay 1e-4, batches of 128, a learning rate of 0.1
    divided by 10 at 32k and 48k of 64k iterations; images padded by 4, cropped and mirrored.

    Raises:
        ValueError: a value out of its range; the message names what was received and what is accepted.
    """

    dataset: str
    data_dir: str | None = option(None, "where prepared tensorflow-datasets sets lie (else its own folder)")
    validation: int = option(0, "training images held out and tested on instead of the test set; the papers' 5000")
    images: int | None = option(None, "training images used, drawn at random (else all)")
    model: str = option("resnet20", "the network, as `keras-resnet summary` names it")
    network: dict[str, Any] = dataclasses.field(default_factory=dict)  # the choices of `Spec` that differ
    weights: str | None = option(
        None,
        "what the network begins with: imagenet, hf://OWNER/NAME, a weights file, or a run folder (else chance)",
    )
    freeze_until: str | None = option(
        None,
        "stages that keep these weights, up to this one: stem, stage1, ..., features (all but the dense layer); their "
        "batch norm runs in inference mode",
    )
    probe_epochs: int | None = option(
        None, "epochs in which they do, before all of the network learns for --epochs (else they keep them to the end)"
    )
    probe_rate: float | None = option(None, "the highest learning rate of these epochs (else --learning-rate)")
    epochs: int | None = option(None, "length of the run; the schedule scales with it (else as many as --iterations)")
    iterations: int | None = option(None, "length of the schedule in steps (else as many as --epochs); paper: 64000")
    batch_size: int = option(128, "images a step")
    accumulate: int = option(1, "parts of a batch that go through the network one by one, their gradients averaged")
    optimizer: str = option("sgd", f"{', '.join(OPTIMIZERS)} (for the kernels of convolutions; all else by sgd)")
    kernel_rate: float = option(0.1, "muon: their highest learning rate, which rises and falls with --learning-rate")
    kernel_momentum: float = option(0.6, "muon: their momentum")
    learning_rate: float = option(0.1, "the highest learning rate")
    scaled_from: int | None = option(None, "batch size that --learning-rate is for; it is scaled to --batch-size")
    schedule: str = option("step", f"how it falls: {', '.join(SCHEDULES)}")
    drops: tuple[float, ...] = option((0.5, 0.75), "step: where it falls, as shares of the schedule")
    drop_factor: float = option(10.0, "step, plateau: by what it is divided there")
    patience: int = option(5, "plateau: epochs without a lower test error behind which it falls")
    rise: float = option(0.0, "share of the schedule in which it rises linearly from zero")
    warmup_rate: float | None = option(
        None,
        "learning rate until the training error is below --warmup-error (else, as in the papers, 0.01 for a CIFAR "
        "network of 110 layers or more, but not for full_preactivation; 0: none)",
    )
    warmup_error: float = option(0.8, "the training error that ends the warm-up")
    momentum: float = option(0.9, "SGD's momentum")
    nesterov: bool = option(False, "Nesterov's momentum")
    weight_decay: float = option(1e-4, "added to the gradient, times the weight")
    decayed: str = option("all", f"what decays: {', '.join(DECAYED)} (not batch norm, not biases)")
    label_smoothing: float = option(0.0, "share of the target spread over all classes")
    ema: float = option(0.0, "momentum of an average of the weights, which is what is tested and kept (0: none)")
    mean: str | None = option(None, f"what is subtracted: {', '.join(MEANS)} (else the weights', or the data set's)")
    flip: bool | None = option(None, "mirror half of the images (else the data set's)")
    pad: int | None = option(None, "arrays: pixels of padding before the random crop (else the data set's)")
    cutout: int | None = option(None, "arrays: side in pixels of a square erased from each image (else 0)")
    size: int | None = option(None, "photographs: side of the images in pixels (else 224)")
    crop: str | None = option(None, f"photographs: how the training images are cut: {', '.join(CROPS)} (else scale)")
    scales: tuple[int, ...] | None = option(
        None, "photographs, crop scale: range of the shorter side before the cut (else 8/7 to 15/7 of --size: 256,480)"
    )
    color: str | None = option(None, f"photographs: shift of the colours: {', '.join(COLORS)} (else none)")
    first_size: int | None = option(
        None, f"photographs: side at first, which grows by {GROWTH} pixels at equal intervals (else --size)"
    )
    test_size: int | None = option(None, "photographs: side of the test images in pixels (else --size)")
    test_resize: int | None = option(None, "photographs: shorter side before the centre is cut (else 8/7: 256)")
    randaugment: float = option(0.0, "magnitude of RandAugment, up to 30: two random operations an image (0: none)")
    erasing: float = option(0.0, "share of the images of which a random rectangle is erased")
    mixup: float = option(0.0, "alpha of MixUp, up to 1 (0: none); beside CutMix, a coin decides for each batch")
    cutmix: float = option(0.0, "alpha of CutMix, up to 1 (0: none)")
    reestimate: bool = option(False, "estimate batch norm's statistics anew over the training images at the end")
    precision: str = option("float32", f"dtype policy: {', '.join(PRECISIONS)}")
    seed: int = option(0, "of the initial weights, the order of the images and their augmentation")

    def __post_init__(self) -> None:
        check_types(Recipe, vars(self))
        check_types(Spec, self.network)
        object.__setattr__(self, "network", as_choices(self.network))
        object.__setattr__(self, "drops", tuple(self.drops))
        if self.scales is not None:
            object.__setattr__(self, "scales", tuple(self.scales))
        self._check_choices()
        self._check_numbers()
        stages = len(self.spec.stage_units)  # raises for a network that does not exist
        parts = (None, "stem", *(f"stage{number}" for number in range(1, stages + 1)), "features")
        if self.freeze_until not in parts:
            raise ValueError(f"`freeze_until` must be one of {', '.join(parts[1:])}. Received: {self.freeze_until!r}")

    def _check_choices(self) -> None:
        for name, accepted in CHOICES.items():
            if getattr(self, name) not in accepted:
                accepted = [choice for choice in accepted if choice]
                raise ValueError(f"`{name}` must be one of {', '.join(accepted)}. Received: {getattr(self, name)!r}")

    def _check_numbers(self) -> None:
        for name in (
            "epochs",
            "iterations",
            "probe_epochs",
            "images",
            "batch_size",
            "accumulate",
            "scaled_from",
            "patience",
            "size",
            "first_size",
        ):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)!r}")
        numbers = (
            "learning_rate",
            "kernel_rate",
            "probe_rate",
            "weight_decay",
            "warmup_rate",
            "warmup_error",
            "validation",
            "pad",
            "cutout",
            "seed",
        )
        for name in numbers:
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be a number of at least 0. Received: {getattr(self, name)!r}")
        if self.seed >= 2**32:
            raise ValueError(f"`seed` must be below 2**32. Received: {self.seed!r}")
        if not self.drop_factor > 0:
            raise ValueError(f"`drop_factor` must be above 0. Received: {self.drop_factor!r}")
        for name in ("momentum", "kernel_momentum", "label_smoothing", "ema", "rise"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 0 and below 1. Received: {getattr(self, name)!r}")
        for name, highest in (("randaugment", 30), ("erasing", 1), ("mixup", 1), ("cutmix", 1)):
            if not 0 <= getattr(self, name) <= highest:
                raise ValueError(f"`{name}` must be from 0 to {highest}. Received: {getattr(self, name)!r}")
        if self.optimizer == "muon" and not (self.learning_rate and self.momentum):
            raise ValueError(
                "`learning_rate`, which muon's rate follows, and `momentum` must be above 0 for muon. "
                f"Received: {self.learning_rate!r} and {self.momentum!r}"
            )
        if self.freeze_until and not self.weights:
            raise ValueError(f"`freeze_until` needs `weights`, or chance is kept. Received: {self.freeze_until!r}")
        if self.mean == "weights" and not self.weights:
            raise ValueError("`mean` can be that of the weights only with `weights`. Received: mean='weights'")
        if self.size and self.first_size and self.first_size > self.size:
            raise ValueError(f"`first_size` must be at most `size`, {self.size}. Received: {self.first_size!r}")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"`accumulate` must divide the batch size {self.batch_size}. Received: {self.accumulate!r}"
            )

    @property
    def spec(self) -> Spec:
        """The network that is trained."""
        return find(self.model).respec(**self.network)

    @property
    def title(self) -> str:
        """The network's name, and in brackets the choices that make it another than the one of that name."""
        own = vars(find(self.model).spec)
        chosen = [
            f"{name} {shown(value)}"
            for name, value in vars(self.spec).items()
            if name in self.network and value != own[name]
        ]
        return f"{self.model} ({'; '.join(chosen)})" if chosen else self.model

    def resolve(
        self, steps_per_epoch: int, defaults: Mapping[str, Any], layout: Mapping[str, Any] | None = None
    ) -> Recipe:
        """The recipe with every open question answered, which repeats the run wherever it is read.

        Args:
            steps_per_epoch: steps in one pass over the training images.
            defaults: what the data set asks for where the recipe says nothing: its `mean`, and those of `VIEWS`
                that apply to it.
            layout: choices of `Spec` that the weights need, where the recipe says nothing.

        Raises:
            ValueError: a choice that does not apply to the data set.
        """
        chosen = {**(layout or {}), **self.network}
        spec = find(self.model).respec(**chosen)
        for name in VIEWS:
            if getattr(self, name) is not None and name not in defaults:
                raise ValueError(f"`{name}` does not apply to {self.dataset}. Received: {getattr(self, name)!r}")
        epochs, iterations = self.epochs, self.iterations
        if epochs is None:
            iterations = iterations or 64_000
            epochs = max(1, round(iterations / steps_per_epoch))
        scale = self.batch_size / (self.scaled_from or self.batch_size)
        return replace(
            self,
            network=spec.told(chosen),
            epochs=epochs,
            iterations=iterations or epochs * steps_per_epoch,
            warmup_rate=warmup_rate(spec) if self.warmup_rate is None else self.warmup_rate,
            learning_rate=self.learning_rate * scale,
            probe_rate=self.probe_rate and self.probe_rate * scale,
            scaled_from=None,
            **{name: value for name, value in defaults.items() if getattr(self, name) is None},
        )

    def size_in(self, epoch: int) -> int | None:
        """The side of the training images in an epoch, counted from 0; None where they are taken as they are.

        "Progressive resolution": small images, at first, cost less. Where there are fewer epochs than sizes, the
        smallest are left out, for a run ends at its full size. Of a resolved recipe.
        """
        if self.size is None:
            return None
        sizes = [*range(self.first_size, self.size, GROWTH), self.size]
        left = max(0, self.epochs - 1 - epoch)
        return sizes[-1 - left * len(sizes) // self.epochs]

    def rate(self, step: float) -> float:
        """The learning rate of a step, counted from 0, without what depends on the errors: warm-up and plateaus.

        Of a resolved recipe.
        """
        return scheduled_rate(self, step / self.iterations)

    @property
    def foreseen(self) -> bool:
        """Whether the rate hangs on nothing but the number of the step, of a run whose length is known."""
        return self.iterations is not None and not self.warmup_rate and self.schedule != "plateau"


def warmup_rate(spec: Spec) -> float:
    """The learning rate at which the papers begin with a CIFAR network; 0 for the full one.

    Theirs have a warm-up from 110 layers on; the full pre-activation unit does not need it (2015, section 4.2; 2016,
    appendix).
    """
    deep = spec.stem == "cifar" and spec.depth >= 110
    return 0.01 if deep and spec.order != "full_preactivation" else 0.0


def scheduled_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate after a share of the schedule."""
    if progress < recipe.rise:
        return recipe.learning_rate * progress / recipe.rise
    if recipe.schedule == "step":
        return recipe.learning_rate / recipe.drop_factor ** sum(progress >= drop for drop in recipe.drops)
    if recipe.schedule == "plateau":
        return recipe.learning_rate
    left = min(1.0, (progress - recipe.rise) / (1 - recipe.rise))
    shape = (1 + math.cos(math.pi * left)) / 2 if recipe.schedule == "cosine" else 1 - left
    return recipe.learning_rate * shape


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON takes it; `Recipe(**as_json(recipe))` is the recipe again."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def completed(told: Mapping[str, Any]) -> dict[str, Any]:
    """What `as_json` once made of a recipe, with what could not be said then."""
    return {**LATER, **told, "network": completed_choices(told.get("network", {}))}
