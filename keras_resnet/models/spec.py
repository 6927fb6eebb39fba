"""`Spec`: the complete description of one residual network, as a dataclass."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any, TypedDict

from ..options import SHARE, check_fields, option
from .rows import DOWNSAMPLES, ORDERS, SHORTCUTS, SKIPS, STEMS, STRIDES_ON, UNITS, Convolution

STAGES = ("stage_units", "stage_filters")
# Fields that `Spec.to_config` has written in every version. A mapping with all of them is such a config, not a user's
# few choices.
ALWAYS_RECORDED = {"unit", "order", "shortcut", "skip", "stem", "downsample", "stride_on", "bn_momentum", "bn_epsilon"}


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Every choice that defines a residual network, validated on construction.

    Immutable; `dataclasses.replace` makes a variant. The builders take the same choices as keyword arguments, and the
    `spec` attribute of a named network holds its own: `keras_resnet.ResNet50.spec`. Below, 2015 and 2016 are the papers
    He et al. 2015 and He et al. 2016.

    Attributes:
        stage_units: number of residual units in each stage, such as (3, 4, 6, 3) for ResNet-50. Every stage but the
            first halves the feature map.
        stage_filters: filters of each stage, such as (64, 128, 256, 512). Bottleneck units put out four times as many
            channels.
        unit: the residual unit. "basic": two 3x3 convolutions. "bottleneck": 1x1, 3x3 and 1x1 convolutions (2015,
            figure 5). "one_layer": one 3x3 convolution (2016, table 3).
        order: the order of convolutions, batch norm, ReLU and addition in a unit (2016, figure 4). "original",
            "bn_after_addition", "relu_before_addition", "relu_only_preactivation" or "full_preactivation", that of
            the networks named V2.
        shortcut: the shortcut of units that change the shape (2015, section 3.3). "A": zero padding, without
            parameters. "B": a projection, a 1x1 convolution. "C": projections in all units. None: a plain network
            without shortcuts.
        skip: what multiplies the shortcut and the residual before the addition (2016, table 1). "identity",
            "constant_scaling", "exclusive_gating", "shortcut_only_gating", "conv" (a 1x1 convolution) or "dropout".
            All but "identity" need shortcut "A" or "B".
        skip_everywhere: whether `skip` applies to all units, as in the 2016 paper, or only to those that keep the
            shape.
        shortcut_scale: factor on the shortcut with skip "constant_scaling". None: 0.5.
        residual_scale: factor on the residual with skip "constant_scaling". None: 0.5.
        gate_bias: initial bias of the gate with skip "exclusive_gating" or "shortcut_only_gating". None: -6.
        skip_dropout: share of the shortcut's values that skip "dropout" sets to zero in training, in [0, 1). None: 0.5.
        stem: the layers before the first unit. "imagenet": a 7x7 convolution, batch norm, ReLU and a 3x3
            max-pooling, with strides of 2. "cifar": a 3x3 convolution, batch norm and ReLU. "unactivated": as
            "imagenet", but with a bias instead of batch norm and ReLU, as in keras.applications' V2. "bare": as
            "imagenet", but without batch norm and ReLU, as in timm's V2; its max-pooling does not pad with zeros. With
            the last two, the order must begin with an activation.
        downsample: how a stage halves the feature map. "stride": by a strided convolution in its first unit.
            "max_pool": by a 2x2 max-pooling before it. "last_unit": by a strided convolution in the last unit of the
            stage before, as in keras.applications' V2.
        stride_on: the convolution of a bottleneck unit that has the stride: "1x1", the first, as in the paper, or
            "3x3", as in torchvision ("v1.5"). In other units it is always the first convolution.
        width: factor on the filters of every stage, but not of the stem, as in wide residual networks.
        zero_init_residual: whether every residual is zero at first, so that a unit begins as its shortcut: the scale of
            the residual's last batch norm, or its last convolution where no batch norm follows, starts at zero.
        stochastic_depth: share of samples for which the last unit's residual is dropped in training, in [0, 1); the
            shares of the units before it decrease linearly (Huang et al. 2016). Residuals that are kept are divided by
            the share kept, so that inference needs no factor; Huang et al. scale at inference instead, and drop a
            residual for all samples of a batch at once.
        bn_momentum: share of the old value that batch norm's moving averages retain at each update, in [0, 1).
        bn_epsilon: added to the variance in batch norm.

    Raises:
        ValueError: a choice does not exist or contradicts another; the message names the value received and the
            accepted ones.
    """

    stage_units: tuple[int, ...] = option(MISSING, "units in each stage, such as 3,4,6,3 [the named network's]")
    stage_filters: tuple[int, ...] = option(
        MISSING, "filters of each stage, such as 64,128,256,512 [the named network's]"
    )
    unit: str = option("basic", f"the residual unit: {', '.join(UNITS)}", choices=UNITS)
    order: str = option("original", f"positions of batch norm and ReLU: {', '.join(ORDERS)}", choices=ORDERS)
    shortcut: str | None = option(
        "B",
        "where the shape changes: A zero padding, B projection; C: projections in all units; none: no shortcuts",
        choices=SHORTCUTS,
    )
    skip: str = option("identity", f"what multiplies the shortcut and the residual: {', '.join(SKIPS)}", choices=SKIPS)
    skip_everywhere: bool = option(
        True, "apply --skip to all units, as in the 2016 paper, not only to those that keep the shape"
    )
    shortcut_scale: float | None = option(None, "constant_scaling: factor on the shortcut [0.5]")
    residual_scale: float | None = option(None, "constant_scaling: factor on the residual [0.5]")
    gate_bias: float | None = option(None, "exclusive_gating, shortcut_only_gating: initial bias of the gate [-6]")
    skip_dropout: float | None = option(None, "dropout: share of the shortcut's values that is dropped [0.5]", **SHARE)
    stem: str = option("imagenet", f"the first layers: {', '.join(STEMS)}", choices=STEMS)
    downsample: str = option(
        "stride",
        f"how a stage halves the feature map: {', '.join(DOWNSAMPLES)} (of the stage before)",
        choices=DOWNSAMPLES,
    )
    stride_on: str = option(
        "1x1", f"the convolution of a bottleneck unit that has the stride: {', '.join(STRIDES_ON)}", choices=STRIDES_ON
    )
    width: float = option(1.0, "factor on the filters of every stage, but not of the stem", above=0)
    zero_init_residual: bool = option(False, "initialise every residual to zero")
    stochastic_depth: float = option(
        0.0, "share of samples for which the last unit's residual is dropped; earlier units drop fewer", **SHARE
    )
    bn_momentum: float = option(0.9, "share of the old value that batch norm's moving averages retain", **SHARE)
    bn_epsilon: float = option(1e-5, "added to the variance in batch norm", above=0)

    def __post_init__(self) -> None:
        self._check_stages()
        check_fields(self, but=STAGES)
        self._check_paths()
        self._check_skip()
        if not STEMS[self.stem].activated and ORDERS[self.order].startswith("conv"):
            raise ValueError(
                f"`stem={self.stem!r}` needs an `order` whose units begin with an activation, such as "
                f"'full_preactivation'. Received: order={self.order!r}"
            )
        if self.zero_init_residual and self.order == "relu_before_addition":
            raise ValueError(
                "`zero_init_residual=True` would disable every unit permanently with `order='relu_before_addition'`: "
                "the ReLU after a zero batch norm passes no gradient. Leave one of the two out."
            )

    def _check_stages(self) -> None:
        for name in STAGES:
            value = getattr(self, name)
            if not isinstance(value, Iterable) or isinstance(value, str) or not (entries := tuple(value)):
                raise ValueError(f"`{name}` must be a tuple of positive integers, one per stage. Received: {value!r}")
            if any(not isinstance(entry, numbers.Integral) or entry < 1 for entry in entries):
                raise ValueError(f"`{name}` must hold positive integers, one per stage. Received: {value!r}")
            object.__setattr__(self, name, tuple(map(int, entries)))
        if len(self.stage_units) != len(self.stage_filters):
            raise ValueError(
                "`stage_units` and `stage_filters` must have the same length. "
                f"Received: {self.stage_units} and {self.stage_filters}"
            )

    def _check_paths(self) -> None:
        if round(min(self.stage_filters) * self.width) < 1:
            raise ValueError(
                f"`width` must leave every stage at least one filter of {self.stage_filters}. Received: {self.width!r}"
            )
        for name, disabled in (("stochastic_depth", 0), ("zero_init_residual", False)):
            if self.shortcut is None and getattr(self, name):
                raise ValueError(
                    f"A plain network (`shortcut=None`) has no path around a unit, so `{name}` must be {disabled}. "
                    f"Received: {getattr(self, name)!r}"
                )

    def _check_skip(self) -> None:
        if self.skip != "identity" and SHORTCUTS[self.shortcut].same != "skip":
            raise ValueError(
                f"`skip={self.skip!r}` needs `shortcut` 'A' or 'B': option C has projections in all units, and a plain "
                f"network has no shortcuts. Received: shortcut={self.shortcut!r}"
            )
        accepted = SKIPS[self.skip].numbers
        for name in sorted({number for skip in SKIPS.values() for number in skip.numbers}):
            if getattr(self, name) is not None and name not in accepted:
                owners = [repr(skip) for skip, row in SKIPS.items() if name in row.numbers]
                raise ValueError(f"`{name}` belongs to skip {' and '.join(owners)}. Received: skip={self.skip!r}")

    def to_config(self, chosen: Iterable[str]) -> dict[str, Any]:
        """Returns the choices that a file records beside the network's name.

        Args:
            chosen: names of the fields that were chosen explicitly. The stages are recorded only if they are among
                these; otherwise the network's name implies them.
        """
        return {name: value for name, value in vars(self).items() if name in chosen or name not in STAGES}

    def number(self, name: str) -> float:
        """Returns a number of the skip, such as "gate_bias": the field's value, or the skip's default if it is None."""
        value = getattr(self, name)
        return SKIPS[self.skip].numbers[name] if value is None else value

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions of one residual unit, in order."""
        return UNITS[self.unit]

    @property
    def depth(self) -> int:
        """Number of weighted layers as the papers count them: convolutions and the dense layer, without projections."""
        return sum(self.stage_units) * len(self.convolutions) + 2

    @property
    def total_stride(self) -> int:
        """Ratio of the image's side to that of the last feature map; also the side of the smallest valid image."""
        stem = STEMS[self.stem]
        return stem.stride * (2 if stem.pool else 1) * 2 ** (len(self.stage_units) - 1)


class ResNetChoices(TypedDict, total=False):
    """The fields of `Spec` as keyword arguments of `ResNet`, which is given the stages by position."""

    unit: str
    order: str
    shortcut: str | None
    skip: str
    skip_everywhere: bool
    shortcut_scale: float | None
    residual_scale: float | None
    gate_bias: float | None
    skip_dropout: float | None
    stem: str
    downsample: str
    stride_on: str
    width: float
    zero_init_residual: bool
    stochastic_depth: float
    bn_momentum: float
    bn_epsilon: float


class NetworkChoices(ResNetChoices, total=False):
    """The fields of `Spec` as keyword arguments of a named network."""

    stage_units: Sequence[int]
    stage_filters: Sequence[int]


# Arguments of timm's and torchvision's builders, and what to write here. `num_classes` and other names that are close
# to one of this package's are suggested without a row.
ELSEWHERE = {
    "drop_path_rate": "stochastic_depth",
    "features_only": "keras_resnet.features(model)",
    "global_pool": "pooling",
    "in_chans": "input_shape=(height, width, channels)",
    "pretrained": 'weights="imagenet"',
}


def as_choices(config: Mapping[str, Any]) -> dict[str, Any]:
    """Converts a config read from JSON to keyword arguments of `Spec`.

    Lists become tuples, and a config that an earlier version wrote is completed as by `with_later_choices`.
    """
    config = with_later_choices(config)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def with_later_choices(config: Mapping[str, Any]) -> dict[str, Any]:
    """Completes a config that an earlier version wrote with the fields that did not exist then.

    Before `skip_everywhere` existed, skips applied only to units that keep the shape.
    """
    if "skip_everywhere" in config or not config.keys() >= ALWAYS_RECORDED:
        return dict(config)
    return {**config, "skip_everywhere": config["skip"] == "identity"}
