"""`Spec`: one residual network, as data."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from ..options import check_fields, option
from .rows import DOWNSAMPLES, ORDERS, SHORTCUTS, SKIPS, STEMS, STRIDES_ON, UNITS, Convolution

STAGES = ("stage_units", "stage_filters")
# What `Spec.to_config` has said from the beginning, and nobody says all of by hand.
ALWAYS_RECORDED = {"unit", "order", "shortcut", "skip", "stem", "downsample", "stride_on", "bn_momentum", "bn_epsilon"}
_SHARE = {"at_least": 0, "below": 1}


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Every choice that makes a residual network, checked when it is made.

    Raises:
        ValueError: a choice that does not exist or that contradicts another; the message names what was received
            and what is accepted.
    """

    stage_units: tuple[int, ...] = option(
        MISSING, "units of each stage, such as 3,4,6,3 (else those that the network's name says)"
    )
    stage_filters: tuple[int, ...] = option(MISSING, "filters of each stage, such as 64,128,256,512 (else the same)")
    unit: str = option("basic", f"the residual unit: {', '.join(UNITS)}", choices=UNITS)
    order: str = option("original", f"where batch norm and ReLU stand: {', '.join(ORDERS)}", choices=ORDERS)
    shortcut: str | None = option(
        "B",
        "where the shape changes: A zero padding, B projection, C projection everywhere, none for a plain net",
        choices=SHORTCUTS,
    )
    skip: str = option("identity", f"what multiplies the shortcut and the residual: {', '.join(SKIPS)}", choices=SKIPS)
    skip_everywhere: bool = option(
        True, "do so in all units, as the 2016 paper; else only in those that leave the shape as it is"
    )
    shortcut_scale: float | None = option(None, "constant_scaling: factor on the shortcut (0.5)")
    residual_scale: float | None = option(None, "constant_scaling: factor on the residual (0.5)")
    gate_bias: float | None = option(None, "exclusive_gating, shortcut_only_gating: the gate's initial bias (-6)")
    skip_dropout: float | None = option(None, "dropout: share of the shortcut's values dropped (0.5)", **_SHARE)
    stem: str = option("imagenet", f"the first layers: {', '.join(STEMS)}", choices=STEMS)
    downsample: str = option(
        "stride", f"how a stage halves the map: {', '.join(DOWNSAMPLES)} (of the stage before)", choices=DOWNSAMPLES
    )
    stride_on: str = option(
        "1x1", f"which convolution of a bottleneck unit strides: {', '.join(STRIDES_ON)}", choices=STRIDES_ON
    )
    width: float = option(1.0, "factor on the filters of every stage, not of the stem", above=0)
    zero_init_residual: bool = option(False, "start every residual at zero")
    stochastic_depth: float = option(
        0.0, "share of samples for which the last residual is dropped; the others less", **_SHARE
    )
    bn_momentum: float = option(0.9, "share of the old value in batch norm's moving averages", **_SHARE)
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
                "`zero_init_residual=True` would switch every unit off for good with `order='relu_before_addition'`: "
                "the ReLU behind a zero batch norm passes no gradient. Leave one of the two out."
            )

    def _check_stages(self) -> None:
        for name in ("stage_units", "stage_filters"):
            value = getattr(self, name)
            if not isinstance(value, Iterable) or isinstance(value, str) or not (entries := tuple(value)):
                raise ValueError(f"`{name}` must be a tuple of positive integers, one a stage. Received: {value!r}")
            if any(not isinstance(entry, numbers.Integral) or entry < 1 for entry in entries):
                raise ValueError(f"`{name}` must hold positive integers, one a stage. Received: {value!r}")
            object.__setattr__(self, name, tuple(map(int, entries)))
        if len(self.stage_units) != len(self.stage_filters):
            raise ValueError(
                "`stage_units` and `stage_filters` must name the same number of stages. "
                f"Received: {self.stage_units} and {self.stage_filters}"
            )

    def _check_paths(self) -> None:
        if round(min(self.stage_filters) * self.width) < 1:
            raise ValueError(
                f"`width` must leave every stage a filter, of {self.stage_filters}. Received: {self.width!r}"
            )
        for name, none in (("stochastic_depth", 0), ("zero_init_residual", False)):
            if self.shortcut is None and getattr(self, name):
                raise ValueError(
                    f"A plain net (`shortcut=None`) has no path around a unit, so `{name}` must be {none}. "
                    f"Received: {getattr(self, name)!r}"
                )

    def _check_skip(self) -> None:
        if self.skip != "identity" and SHORTCUTS[self.shortcut].same != "skip":
            raise ValueError(
                f"`skip={self.skip!r}` needs `shortcut` 'A' or 'B': option C puts a projection everywhere and a plain "
                f"net has no shortcut. Received: shortcut={self.shortcut!r}"
            )
        takes = SKIPS[self.skip].numbers
        for name in sorted({number for skip in SKIPS.values() for number in skip.numbers}):
            if getattr(self, name) is not None and name not in takes:
                owners = [repr(skip) for skip, row in SKIPS.items() if name in row.numbers]
                raise ValueError(f"`{name}` belongs to skip {' and '.join(owners)}. Received: skip={self.skip!r}")

    def to_config(self, chosen: Iterable[str]) -> dict[str, Any]:
        """The choices as a file tells them beside the network's name, which says the stages where nobody chose them."""
        return {name: value for name, value in vars(self).items() if name in chosen or name not in STAGES}

    def number(self, name: str) -> float:
        """The value of a number of the skip: the one given, else its row's."""
        given = getattr(self, name)
        return SKIPS[self.skip].numbers[name] if given is None else given

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions of one unit."""
        return UNITS[self.unit]

    @property
    def depth(self) -> int:
        """Weighted layers as the papers count them: convolutions and the dense layer, projections not."""
        return sum(self.stage_units) * len(self.convolutions) + 2

    @property
    def total_stride(self) -> int:
        """By how much the last stage's map is smaller than the image; also the smallest image the network takes."""
        stem = STEMS[self.stem]
        return stem.stride * (2 if stem.pool else 1) * 2 ** (len(self.stage_units) - 1)


def as_choices(told: Mapping[str, Any]) -> dict[str, Any]:
    """Choices out of JSON, which has lists for tuples, or from before there were as many."""
    told = with_later_fields(told)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}


def with_later_fields(told: Mapping[str, Any]) -> dict[str, Any]:
    """A config that an earlier version wrote, completed with the choices that it did not know.

    Networks from before there was `skip_everywhere` have their skip only where the shape stays.
    """
    if "skip_everywhere" in told or not told.keys() >= ALWAYS_RECORDED:
        return dict(told)
    return {**told, "skip_everywhere": told["skip"] == "identity"}
