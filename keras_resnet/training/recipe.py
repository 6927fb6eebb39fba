"""`Recipe`: everything that decides a training run, as data."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..data import COLORS, CROPS
from ..data import MEANS as OF_IMAGES
from ..models.architectures import Architecture
from ..models.catalog import ARCHITECTURES, find
from ..models.spec import Spec, as_choices
from ..models.spec import with_later_fields as completed_choices
from ..options import check_fields, check_types, option, shown
from .schedule import PAPERS_ITERATIONS, WARMUP_RATE, scheduled_rate, warmup_rate

SCHEDULES = ("step", "plateau", "cosine", "linear")
OPTIMIZERS = ("sgd", "muon")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
DECAYED = ("all", "kernels")
MEANS = (*OF_IMAGES, "weights")
# Which of these apply, the data set knows.
AUGMENTATION = ("flip", "pad", "cutout", "size", "crop", "scales", "color")
VIEWS = (*AUGMENTATION, "first_size", "test_size", "test_resize")
_SHARE = {"at_least": 0, "below": 1}
GROWTH = 32  # pixels by which photographs grow during a run
# What recipes mean that were written down before they could say it.
LATER_FIELDS = {"optimizer": "sgd", "kernel_rate": 0.1, "kernel_momentum": 0.6, "warmup_iterations": None}


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
    validation: int = option(
        0, "training images held out and tested on instead of the test set; the papers' 5000", at_least=0
    )
    images: int | None = option(None, "training images used, drawn at random (else all)", at_least=1)
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
        None,
        "epochs in which they do, before all of the network learns for --epochs (else they keep them to the end)",
        at_least=1,
    )
    probe_rate: float | None = option(
        None, "the highest learning rate of these epochs (else --learning-rate)", at_least=0
    )
    epochs: int | None = option(
        None, "length of the run; the schedule scales with it (else as many as --iterations)", at_least=1
    )
    iterations: int | None = option(
        None, f"length of the schedule in steps (else as many as --epochs); paper: {PAPERS_ITERATIONS}", at_least=1
    )
    batch_size: int = option(128, "images a step", at_least=1)
    accumulate: int = option(
        1, "parts of a batch that go through the network one by one, their gradients averaged", at_least=1
    )
    optimizer: str = option(
        "sgd", f"{', '.join(OPTIMIZERS)} (for the kernels of convolutions; all else by sgd)", choices=OPTIMIZERS
    )
    kernel_rate: float = option(
        0.1, "muon: their highest learning rate, which rises and falls with --learning-rate", at_least=0
    )
    kernel_momentum: float = option(0.6, "muon: their momentum", **_SHARE)
    learning_rate: float = option(0.1, "the highest learning rate", at_least=0)
    scaled_from: int | None = option(
        None, "batch size that --learning-rate is for; it is scaled to --batch-size", at_least=1
    )
    schedule: str = option("step", f"how it falls: {', '.join(SCHEDULES)}", choices=SCHEDULES)
    drops: tuple[float, ...] = option((0.5, 0.75), "step: where it falls, as shares of the schedule")
    drop_factor: float = option(10.0, "step, plateau: by what it is divided there", at_least=1)
    patience: int = option(5, "plateau: epochs without a lower test error behind which it falls", at_least=1)
    rise: float = option(0.0, "share of the schedule in which it rises linearly from zero", **_SHARE)
    warmup_rate: float | None = option(
        None,
        "learning rate at first, where the schedule's is higher (0: none; else 0.01 with --warmup-iterations, and for "
        "a CIFAR network of 110 layers or more, but not for full_preactivation)",
        at_least=0,
    )
    warmup_iterations: int | None = option(
        None, "steps of this warm-up (else until the training error is below --warmup-error)", at_least=1
    )
    warmup_error: float = option(
        0.8, "the training error, as a share, below which a warm-up of no fixed length ends", at_least=0, at_most=1
    )
    momentum: float = option(0.9, "SGD's momentum", **_SHARE)
    nesterov: bool = option(False, "Nesterov's momentum")
    weight_decay: float = option(1e-4, "added to the gradient, times the weight", at_least=0)
    decayed: str = option("all", f"what decays: {', '.join(DECAYED)} (not batch norm, not biases)", choices=DECAYED)
    label_smoothing: float = option(0.0, "share of the target spread over all classes", **_SHARE)
    ema: float = option(
        0.0, "momentum of an average of the weights, which is what is tested and kept (0: none)", **_SHARE
    )
    mean: str | None = option(
        None, f"what is subtracted: {', '.join(MEANS)} (else the weights', or the data set's)", choices=MEANS
    )
    flip: bool | None = option(None, "mirror half of the images (else the data set's)")
    pad: int | None = option(None, "arrays: pixels of padding before the random crop (else the data set's)", at_least=0)
    cutout: int | None = option(None, "arrays: side in pixels of a square erased from each image (else 0)", at_least=0)
    size: int | None = option(None, "photographs: side of the images in pixels (else 224)", at_least=1)
    crop: str | None = option(
        None, f"photographs: how the training images are cut: {', '.join(CROPS)} (else scale)", choices=CROPS
    )
    scales: tuple[int, ...] | None = option(
        None, "photographs, crop scale: range of the shorter side before the cut (else 8/7 to 15/7 of --size: 256,480)"
    )
    color: str | None = option(
        None, f"photographs: shift of the colours: {', '.join(COLORS)} (else none)", choices=COLORS
    )
    first_size: int | None = option(
        None,
        f"photographs: side at first, which grows by {GROWTH} pixels at equal intervals (else --size)",
        at_least=1,
    )
    test_size: int | None = option(None, "photographs: side of the test images in pixels (else --size)", at_least=1)
    test_resize: int | None = option(
        None, "photographs: shorter side before the centre is cut (else 8/7: 256)", at_least=1
    )
    randaugment: float = option(
        0.0, "magnitude of RandAugment, up to 30: two random operations an image (0: none)", at_least=0, at_most=30
    )
    erasing: float = option(0.0, "share of the images of which a random rectangle is erased", at_least=0, at_most=1)
    mixup: float = option(
        0.0, "alpha of MixUp, up to 1 (0: none); beside CutMix, a coin decides for each batch", at_least=0, at_most=1
    )
    cutmix: float = option(0.0, "alpha of CutMix, up to 1 (0: none)", at_least=0, at_most=1)
    reestimate: bool = option(False, "estimate batch norm's statistics anew over the training images at the end")
    precision: str = option("float32", f"dtype policy: {', '.join(PRECISIONS)}", choices=PRECISIONS)
    seed: int = option(0, "of the initial weights, the order of the images and their augmentation", at_least=0)

    def __post_init__(self) -> None:
        check_fields(self)
        check_types(Spec, self.network)
        object.__setattr__(self, "network", as_choices(self.network))
        object.__setattr__(self, "drops", tuple(self.drops))
        if self.scales is not None:
            object.__setattr__(self, "scales", tuple(self.scales))
        self._check_together()
        stages = len(self.spec.stage_units)  # raises for a network that does not exist
        parts = (None, "stem", *(f"stage{number}" for number in range(1, stages + 1)), "features")
        if self.freeze_until not in parts:
            raise ValueError(f"`freeze_until` must be one of {', '.join(parts[1:])}. Received: {self.freeze_until!r}")

    def _check_together(self) -> None:
        """What no field can say alone."""
        if self.seed >= 2**32:
            raise ValueError(f"`seed` must be below 2**32. Received: {self.seed!r}")
        if not all(low < high for low, high in itertools.pairwise((0, *self.drops, 1))):
            raise ValueError(
                f"`drops` must be shares of the schedule, above 0 and below 1, and rise. Received: {self.drops!r}"
            )
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
    def architecture(self) -> Architecture:
        """The network of that name, of which `network` says what differs."""
        return find(self.model, self.network.get("unit"))

    @property
    def spec(self) -> Spec:
        """The network that is trained."""
        return self.architecture.respec(**self.network)

    @property
    def title(self) -> str:
        """The network's name, and in brackets the choices that make it another than the one of that name."""
        own = dict(vars(self.architecture.spec))
        if self.model.lower() not in ARCHITECTURES:
            own["unit"] = "basic"  # which such a name has unless told otherwise
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
        spec = self.architecture.respec(**chosen)
        for name in VIEWS:
            if getattr(self, name) is not None and name not in defaults:
                raise ValueError(f"`{name}` does not apply to {self.dataset}. Received: {getattr(self, name)!r}")
        epochs = self.epochs_of(steps_per_epoch)
        scale = self.batch_size / (self.scaled_from or self.batch_size)
        warmup = WARMUP_RATE if self.warmup_iterations else warmup_rate(spec)
        return replace(
            self,
            network=spec.to_config(chosen),
            epochs=epochs,
            iterations=self.steps if self.epochs is None else self.iterations or epochs * steps_per_epoch,
            warmup_rate=warmup if self.warmup_rate is None else self.warmup_rate,
            learning_rate=self.learning_rate * scale,
            probe_rate=self.probe_rate and self.probe_rate * scale,
            scaled_from=self.scaled_from and self.batch_size,  # the rates are for this one now
            **{name: value for name, value in defaults.items() if getattr(self, name) is None},
        )

    @property
    def steps(self) -> int:
        """The length of the schedule in steps where no `epochs` say it."""
        return self.iterations or PAPERS_ITERATIONS

    def epochs_of(self, steps_per_epoch: int) -> int:
        """The length of the run in whole epochs of so many steps."""
        return self.epochs or max(1, round(self.steps / steps_per_epoch))

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
        """The learning rate of a step, counted from 0, without what depends on the errors.

        Those decide when a plateau is reached, and when a warm-up of no fixed length ends. Of a resolved recipe.
        """
        scheduled = scheduled_rate(self, step / self.iterations)
        warming = self.warmup_rate and step < (self.warmup_iterations or 0)
        return min(self.warmup_rate, scheduled) if warming else scheduled

    @property
    def waits_for_error(self) -> bool:
        """Whether its warm-up ends when the training error is low enough. Of a resolved recipe."""
        return bool(self.warmup_rate) and self.warmup_iterations is None

    @property
    def has_fixed_schedule(self) -> bool:
        """Whether the rate hangs on nothing but the number of the step, of a run whose length is known."""
        return self.iterations is not None and not self.waits_for_error and self.schedule != "plateau"


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON takes it; `Recipe(**as_json(recipe))` is the recipe again."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def with_later_fields(told: Mapping[str, Any]) -> dict[str, Any]:
    """What `as_json` once made of a recipe, with what could not be said then."""
    return {**LATER_FIELDS, **told, "network": completed_choices(told.get("network", {}))}
