"""`Recipe`: everything that determines the result of a training run, as data."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..data import COLORS, CROPS
from ..data import MEANS as DATASET_MEANS
from ..models.architectures import Architecture
from ..models.catalog import ARCHITECTURES, find
from ..models.spec import Spec, as_choices, with_later_choices
from ..options import SHARE, check_fields, check_types, format_value, option
from .schedule import PAPERS_ITERATIONS, WARMUP_RATE, scheduled_rate, warmup_rate

SCHEDULES = ("step", "plateau", "cosine", "linear")
OPTIMIZERS = ("sgd", "muon")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
DECAYED = ("all", "kernels")
MEANS = (*DATASET_MEANS, "weights")
# The data set decides which of these options apply to it.
AUGMENTATION = ("flip", "pad", "cutout", "size", "crop", "scales", "color")
VIEWS = (*AUGMENTATION, "first_size", "test_size", "test_resize")
GROWTH = 32  # pixels added to the size of photographs at each step of progressive resizing
# Values of fields that did not exist yet when an older recipe was saved.
LATER_FIELDS = dict(optimizer="sgd", kernel_rate=0.1, kernel_momentum=0.6, warmup_iterations=None, fingerprint=None)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines the result of a training run. The defaults are the CIFAR recipe of both papers.

    None in a field that depends on the data set means the data set's default, which `resolve` fills in.

    He et al. 2015, section 4.2: SGD with momentum 0.9, weight decay 1e-4, batches of 128, a learning rate of 0.1
    divided by 10 at 32k and 48k of 64k iterations; images padded by 4, cropped and mirrored.

    Raises:
        ValueError: a value is out of its range; the message gives the received and the accepted values.
    """

    dataset: str
    fingerprint: str | None = None  # of the images of a folder of photographs, see `LabelledImages`; set by the run
    data_dir: str | None = option(
        None, "folder of prepared tensorflow-datasets data sets [its own folder]", metavar="FOLDER"
    )
    validation: int = option(
        0, "training images held out for testing, in place of the test set; papers: 5000", at_least=0
    )
    images: int | None = option(None, "number of training images to use, drawn at random [all]", at_least=1)
    model: str = option("resnet20", "name of the network, as listed by `keras-resnet summary`")
    network: dict[str, Any] = dataclasses.field(default_factory=dict)  # fields of `Spec` that differ from the model's
    weights: str | None = option(
        None, "initial weights: imagenet, hf://OWNER/NAME, a weights file or a run folder [random]"
    )
    freeze_until: str | None = option(
        None,
        "freeze the layers up to and including this part: stem, stage1, ..., features (all but the dense layer); "
        "their batch norm runs in inference mode",
    )
    probe_epochs: int | None = option(
        None,
        "freeze for this many epochs only, then train the entire network for --epochs [freeze to the end]",
        at_least=1,
    )
    probe_rate: float | None = option(None, "highest learning rate of the probe epochs [--learning-rate]", at_least=0)
    epochs: int | None = option(
        None, "number of epochs; the schedule scales with it [derived from --iterations]", at_least=1
    )
    iterations: int | None = option(
        None, f"steps of the schedule; papers: {PAPERS_ITERATIONS} [derived from --epochs]", at_least=1
    )
    batch_size: int = option(128, "images per step", at_least=1)
    accumulate: int = option(
        1, "split each batch into this many parts, processed one by one, and average their gradients", at_least=1
    )
    optimizer: str = option(
        "sgd", f"{', '.join(OPTIMIZERS)} (Muon for convolution kernels, SGD for all else)", choices=OPTIMIZERS
    )
    kernel_rate: float = option(
        0.1, "muon: highest learning rate of the kernels; follows the schedule of --learning-rate", at_least=0
    )
    kernel_momentum: float = option(0.6, "muon: momentum of the kernels", **SHARE)
    learning_rate: float = option(0.1, "highest learning rate", at_least=0)
    scaled_from: int | None = option(
        None, "batch size that --learning-rate is meant for; the rate is scaled linearly to --batch-size", at_least=1
    )
    schedule: str = option("step", f"learning-rate schedule: {', '.join(SCHEDULES)}", choices=SCHEDULES)
    drops: tuple[float, ...] = option((0.5, 0.75), "step: where the rate drops, as fractions of the schedule")
    drop_factor: float = option(10.0, "step, plateau: divisor of the rate at each drop", at_least=1)
    patience: int = option(5, "plateau: epochs without a lower test error after which the rate drops", at_least=1)
    rise: float = option(0.0, "initial fraction of the schedule in which the rate rises linearly from zero", **SHARE)
    warmup_rate: float | None = option(
        None,
        "upper limit of the learning rate during warm-up (0: none) [0.01 with --warmup-iterations and for CIFAR "
        "networks of 110 layers or more, except full_preactivation; else 0]",
        at_least=0,
    )
    warmup_iterations: int | None = option(
        None, "length of the warm-up in steps [until the training error is below --warmup-error]", at_least=1
    )
    warmup_error: float = option(
        0.8, "training error, as a fraction, below which a warm-up of no fixed length ends", at_least=0, at_most=1
    )
    momentum: float = option(0.9, "momentum of SGD", **SHARE)
    nesterov: bool = option(False, "use Nesterov momentum")
    weight_decay: float = option(1e-4, "coupled weight decay, which adds factor * weight to the gradient", at_least=0)
    decayed: str = option("all", f"what decays: {', '.join(DECAYED)} (no batch norm, no biases)", choices=DECAYED)
    label_smoothing: float = option(0.0, "fraction of the target probability spread evenly over all classes", **SHARE)
    ema: float = option(
        0.0, "momentum of an exponential moving average of the weights, which is tested and saved (0: none)", **SHARE
    )
    mean: str | None = option(
        None, f"mean to subtract: {', '.join(MEANS)} [that of the weights, else the data set's]", choices=MEANS
    )
    flip: bool | None = option(None, "mirror half of the images at random [the data set's]")
    pad: int | None = option(None, "images in memory: padding in pixels for random crops [the data set's]", at_least=0)
    cutout: int | None = option(None, "images in memory: side in pixels of a square to erase [0]", at_least=0)
    size: int | None = option(None, "photographs: side of the training images in pixels [224]", at_least=1)
    crop: str | None = option(
        None, f"photographs: random crop of the training images: {', '.join(CROPS)} [scale]", choices=CROPS
    )
    scales: tuple[int, ...] | None = option(
        None, "photographs, crop scale: range of the shorter side [8/7 to 15/7 of --size: 256,480]"
    )
    color: str | None = option(None, f"photographs: colour augmentation: {', '.join(COLORS)} [none]", choices=COLORS)
    first_size: int | None = option(
        None, f"photographs: initial side, growing to --size in steps of {GROWTH} pixels [--size]", at_least=1
    )
    test_size: int | None = option(None, "photographs: side of the test images in pixels [--size]", at_least=1)
    test_resize: int | None = option(
        None, "photographs: shorter side before the centre crop [8/7 of --test-size: 256]", at_least=1
    )
    randaugment: float = option(
        0.0, "magnitude of RandAugment, up to 30: two random operations per image (0: none)", at_least=0, at_most=30
    )
    erasing: float = option(0.0, "fraction of the images in which a random rectangle is erased", at_least=0, at_most=1)
    mixup: float = option(
        0.0, "alpha of MixUp, up to 1 (0: none); with --cutmix, each batch draws one of the two", at_least=0, at_most=1
    )
    cutmix: float = option(0.0, "alpha of CutMix, up to 1 (0: none)", at_least=0, at_most=1)
    reestimate: bool = option(False, "re-estimate the statistics of batch norm over the training images at the end")
    precision: str = option("float32", f"dtype policy: {', '.join(PRECISIONS)}", choices=PRECISIONS)
    seed: int = option(0, "seed of the initial weights, the order of the images and their augmentation", at_least=0)

    def __post_init__(self) -> None:
        check_fields(self)
        check_types(Spec, self.network)
        object.__setattr__(self, "network", as_choices(self.network))
        object.__setattr__(self, "drops", tuple(self.drops))
        if self.scales is not None:
            object.__setattr__(self, "scales", tuple(self.scales))
        self._check_together()
        stages = len(self.spec.stage_units)  # `spec` raises if there is no such network
        parts = ("stem", *(f"stage{number}" for number in range(1, stages + 1)), "features")
        if self.freeze_until not in (None, *parts):
            raise ValueError(f"`freeze_until` must be one of {', '.join(parts)}. Received: {self.freeze_until!r}")

    def _check_together(self) -> None:
        """Checks the rules that concern several fields."""
        if self.seed >= 2**32:
            raise ValueError(f"`seed` must be below 2**32. Received: {self.seed!r}")
        if not all(low < high for low, high in itertools.pairwise((0, *self.drops, 1))):
            raise ValueError(
                f"`drops` must be fractions of the schedule, above 0, below 1 and rising. Received: {self.drops!r}"
            )
        if self.optimizer == "muon" and not (self.learning_rate and self.momentum):
            raise ValueError(
                "`learning_rate`, which muon's rate follows, and `momentum` must be above 0 for muon. "
                f"Received: learning_rate={self.learning_rate!r}, momentum={self.momentum!r}"
            )
        if self.freeze_until and not self.weights:
            raise ValueError(f"`freeze_until` needs `weights`, not random ones. Received: {self.freeze_until!r}")
        if self.mean == "weights" and not self.weights:
            raise ValueError("`mean` can be 'weights' only if `weights` are given. Received: mean='weights'")
        if self.size and self.first_size and self.first_size > self.size:
            raise ValueError(f"`first_size` must be at most `size`, {self.size}. Received: {self.first_size!r}")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"`accumulate` must divide the batch size {self.batch_size}. Received: {self.accumulate!r}"
            )

    @property
    def architecture(self) -> Architecture:
        """The architecture named by `model`, before the changes in `network`."""
        return find(self.model, self.network.get("unit"))

    @functools.cached_property
    def spec(self) -> Spec:
        """The specification of the network that is trained."""
        return self.architecture.respec(**self.network)

    @property
    def title(self) -> str:
        """The network's name, followed in brackets by the choices that differ from the network of that name."""
        usual = dict(vars(self.architecture.spec))
        if self.model.lower() not in ARCHITECTURES:
            usual["unit"] = "basic"  # the default of names that give nothing but the depth
        changes = [
            f"{name} {format_value(value)}"
            for name, value in vars(self.spec).items()
            if name in self.network and value != usual[name]
        ]
        return f"{self.model} ({'; '.join(changes)})" if changes else self.model

    def resolve(
        self, steps_per_epoch: int, defaults: Mapping[str, Any], layout: Mapping[str, Any] | None = None
    ) -> Recipe:
        """Returns the recipe with all defaults filled in, so that it repeats the run wherever it is read.

        Args:
            steps_per_epoch: steps in one pass over the training images.
            defaults: the data set's values for fields that are None: its `mean`, and those of `VIEWS` that apply to
                it.
            layout: fields of `Spec` that the weights need; `network` takes precedence.

        Raises:
            ValueError: a field is set that does not apply to the data set.
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
            scaled_from=self.scaled_from and self.batch_size,  # the rates are scaled to this batch size now
            **{name: value for name, value in defaults.items() if getattr(self, name) is None},
        )

    @property
    def split(self) -> str:
        """The images that a run is tested on: "validation" if some are held out, else "test"."""
        return "validation" if self.validation else "test"

    @property
    def steps(self) -> int:
        """The length of the schedule in steps. If only `epochs` are given, the recipe must be resolved."""
        if self.iterations is None and self.epochs is not None:
            raise ValueError(f"The recipe must be resolved. Received: epochs={self.epochs}, iterations=None")
        return self.iterations or PAPERS_ITERATIONS

    def epochs_of(self, steps_per_epoch: int) -> int:
        """Returns the length of the run in epochs, given the steps of one epoch."""
        return self.epochs or max(1, round(self.steps / steps_per_epoch))

    def rate(self, step: float) -> float:
        """Returns the learning rate of a step (from 0), as far as it does not depend on errors.

        Drops at plateaus and a warm-up of no fixed length depend on the errors of the run and are left out. The recipe
        must be resolved.
        """
        scheduled = scheduled_rate(self, step / self.steps)
        if self.warmup_rate and step < (self.warmup_iterations or 0):
            return min(self.warmup_rate, scheduled)
        return scheduled

    @property
    def waits_for_error(self) -> bool:
        """Whether the warm-up lasts until the training error is low enough. The recipe must be resolved."""
        return bool(self.warmup_rate) and self.warmup_iterations is None

    @property
    def has_fixed_schedule(self) -> bool:
        """Whether the learning rate depends on nothing but the step, and the length of the schedule is known."""
        return self.iterations is not None and not self.waits_for_error and self.schedule != "plateau"


def as_json(recipe: Recipe) -> dict[str, Any]:
    """Returns the recipe as JSON-compatible values; `Recipe(**as_json(recipe))` equals the recipe."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))


def with_later_fields(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a recipe saved by `as_json`, perhaps of an earlier version, with the fields that were added since."""
    return {**LATER_FIELDS, **saved, "network": with_later_choices(saved.get("network", {}))}
