"""The tables and figures of He et al. 2015 and 2016 whose networks this package contains, row by row.

Errors are those published (arXiv 1512.03385 and 1603.05027), in percent; those of 2016 on CIFAR-10 are medians of five
runs. Figures show curves without numbers; the numbers of their rows are from the tables that show the same runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..evaluation.views import Views
from ..options import suggestion
from .rows import Experiment, Published, Row

_P = Published
_FAIL = Published(fail=True)
_V2 = "full_preactivation"

_TABLE6 = (
    Row("ResNet-20", "resnet20", _P(8.75)),
    Row("ResNet-32", "resnet32", _P(7.51)),
    Row("ResNet-44", "resnet44", _P(7.17)),
    Row("ResNet-56", "resnet56", _P(6.97)),
    Row("ResNet-110", "resnet110", _P(6.43, 6.61, 0.16)),
    Row("ResNet-1202", "resnet1202", _P(7.93)),
)
_PLAIN = tuple(Row(f"plain-{depth}", f"plainnet{depth}") for depth in (20, 32, 44, 56))
_PLAIN110 = Row("plain-110", "plainnet110", Published(fail=True, above=60.0))  # not shown in 2015, figure 6

_CIFAR2016: dict[str, Any] = {"recipe": "paper2016"}
_IMAGENET: dict[str, Any] = {"dataset": "imagenet2012", "recipe": "paper2015"}
_TEN_CROPS = Views(crops=10)
_SCALES = Views(scales=(224, 256, 384, 480, 640))
_PLAIN18, _PLAIN34 = Row("plain-18", "plainnet18", _P(27.94)), Row("plain-34", "plainnet34", _P(28.54, top5=10.02))
_RESNET18 = Row("ResNet-18", "resnet18", _P(27.88), {"shortcut": "A"})
_RESNET34A = Row("ResNet-34 A", "resnet34", _P(25.03, top5=7.76), {"shortcut": "A"})


def _skip(name: str, published: Published, skip: str, **numbers: float) -> Row:
    # `skip_everywhere` is the default, but stated to distinguish these runs from earlier ones, made before it existed.
    return Row(name, "resnet110", published, {"skip": skip, "skip_everywhere": True, **numbers})


def _constant(shortcut: float, residual: float, published: Published) -> Row:
    name = f"constant scaling {shortcut:g}, {residual:g}"
    return _skip(name, published, "constant_scaling", shortcut_scale=shortcut, residual_scale=residual)


def _gated(name: str, skip: str, bias: float, published: Published) -> Row:
    return _skip(name, published, skip, gate_bias=bias)


_ORIGINAL110 = Row("original", "resnet110", _P(6.61))
_TABLE1 = (
    _ORIGINAL110,
    _constant(0.0, 1.0, _FAIL),  # a plain network
    _constant(0.5, 1.0, _FAIL),
    _constant(0.5, 0.5, _P(12.35)),
    _gated("exclusive gating, 0", "exclusive_gating", 0.0, _FAIL),
    _gated("exclusive gating, -5", "exclusive_gating", -5.0, _FAIL),
    _gated("exclusive gating, -6", "exclusive_gating", -6.0, _P(8.70)),
    _gated("exclusive gating, -7", "exclusive_gating", -7.0, _P(9.81)),
    _gated("shortcut-only gating, 0", "shortcut_only_gating", 0.0, _P(12.86)),
    _gated("shortcut-only gating, -6", "shortcut_only_gating", -6.0, _P(6.91)),
    Row("1x1 convolution", "resnet110", _P(12.22), {"shortcut": "C"}),  # "known as option C"
    _skip("dropout 0.5", _FAIL, "dropout", skip_dropout=0.5),
)


def _orders(depth: int, errors: dict[str, float]) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"{order.replace('_', ' ')}, {depth}",
            f"resnet{depth}",
            _P(error),
            {} if order == "original" else {"order": order},
        )
        for order, error in errors.items()
    )


_TABLE2 = (
    *_orders(
        110,
        {
            "original": 6.61,
            "bn_after_addition": 8.17,
            "relu_before_addition": 7.84,
            "relu_only_preactivation": 6.71,
            _V2: 6.37,
        },
    ),
    *_orders(
        164,
        {
            "original": 5.93,
            "bn_after_addition": 6.50,
            "relu_before_addition": 6.14,
            "relu_only_preactivation": 5.91,
            _V2: 5.46,
        },
    ),
)
_V1_1001, _V2_1001 = (
    Row("ResNet-1001", "resnet1001", _P(7.61)),
    Row("ResNet-1001 V2", "resnet1001v2", _P(4.92, 4.89, 0.14)),
)
# Table 4 refers to https://github.com/KaimingHe/resnet-1k-layers: batches of 64, 200 epochs, and the training code of
# fb.resnet.torch, which divides the learning rate by 10 in epochs 81 and 122, uses Nesterov momentum and no warm-up.
_TORCH_BATCH64 = {
    "batch_size": 64,
    "epochs": 200,
    "iterations": None,
    "drops": (80 / 200, 121 / 200),
    "nesterov": True,
    "warmup_rate": 0.0,
    "warmup_iterations": None,
}
_TABLE3 = (
    Row("ResNet-110, one-layer units", "resnet110", _P(9.90), {"unit": "one_layer"}),
    Row("ResNet-110 V2, one-layer units", "resnet110v2", _P(8.91), {"unit": "one_layer"}),
    Row("ResNet-110", "resnet110", _P(6.61)),
    Row("ResNet-110 V2", "resnet110v2", _P(6.37)),
    Row("ResNet-164", "resnet164", _P(5.93)),
    Row("ResNet-164 V2", "resnet164v2", _P(5.46)),
    _V1_1001,
    replace(_V2_1001, published=_P(4.92)),
)
_TABLE3_CIFAR100 = (
    Row("ResNet-164", "resnet164", _P(25.16)),
    Row("ResNet-164 V2", "resnet164v2", _P(24.33)),
    Row("ResNet-1001", "resnet1001", _P(27.82)),
    Row("ResNet-1001 V2", "resnet1001v2", _P(22.71, 22.68, 0.22)),  # mean and deviation: table 4
)
_CROP320 = Views(size=320, resize=320)

_ALL = (
    Experiment(
        "he2015-table2",
        "He et al. 2015, table 2",
        "plain and residual networks on ImageNet, ten crops",
        (_PLAIN18, replace(_PLAIN34, published=_P(28.54)), _RESNET18, replace(_RESNET34A, published=_P(25.03))),
        **_IMAGENET,
        views=_TEN_CROPS,
    ),
    Experiment(
        "he2015-table3",
        "He et al. 2015, table 3",
        "shortcut options and deeper networks on ImageNet, ten crops",
        (
            _PLAIN34,
            _RESNET34A,
            Row("ResNet-34 B", "resnet34", _P(24.52, top5=7.46)),
            Row("ResNet-34 C", "resnet34", _P(24.19, top5=7.40), {"shortcut": "C"}),
            Row("ResNet-50", "resnet50", _P(22.85, top5=6.71)),
            Row("ResNet-101", "resnet101", _P(21.75, top5=6.05)),
            Row("ResNet-152", "resnet152", _P(21.43, top5=5.71)),
        ),
        **_IMAGENET,
        views=_TEN_CROPS,
    ),
    Experiment(
        "he2015-table4",
        "He et al. 2015, table 4",
        "single models on ImageNet, entire images at five scales",
        (
            Row("ResNet-34 B", "resnet34", _P(21.84, top5=5.71)),
            Row("ResNet-34 C", "resnet34", _P(21.53, top5=5.60), {"shortcut": "C"}),
            Row("ResNet-50", "resnet50", _P(20.74, top5=5.25)),
            Row("ResNet-101", "resnet101", _P(19.87, top5=4.60)),
            Row("ResNet-152", "resnet152", _P(19.38, top5=4.49)),
        ),
        **_IMAGENET,
        views=_SCALES,
    ),
    Experiment("he2015-table6", "He et al. 2015, table 6", "residual networks of six depths on CIFAR-10", _TABLE6),
    Experiment(
        "he2015-figure1",
        "He et al. 2015, figure 1",
        "degradation on CIFAR-10: the deeper of two plain networks has a higher training error",
        (_PLAIN[0], _PLAIN[3]),
        degrading=("plain-20", "plain-56"),
    ),
    Experiment(
        "he2015-figure4",
        "He et al. 2015, figure 4",
        "degradation on ImageNet: plain and residual networks of 18 and 34 layers",
        (_PLAIN18, _PLAIN34, _RESNET18, _RESNET34A),
        **_IMAGENET,
        views=_TEN_CROPS,  # applies to the numbers, which are from tables 2 and 3
        degrading=("plain-18", "plain-34"),
    ),
    Experiment(
        "he2015-figure6",
        "He et al. 2015, figure 6",
        "degradation on CIFAR-10: depth makes plain networks worse and residual ones better",
        (*_PLAIN, _PLAIN110, *_TABLE6),
        degrading=tuple(row.name for row in (*_PLAIN, _PLAIN110)),
    ),
    Experiment(
        "he2015-figure7",
        "He et al. 2015, figure 7",
        "layer responses: weaker in residual networks than in plain ones, and in deeper ones",
        (_PLAIN[0], _PLAIN[3], _TABLE6[0], _TABLE6[3], _TABLE6[4]),
        analysis="responses",
    ),
    Experiment(
        "he2016-table1",
        "He et al. 2016, table 1",
        "types of shortcut connections in ResNet-110",
        _TABLE1,
        **_CIFAR2016,
    ),
    Experiment(
        "he2016-table2",
        "He et al. 2016, table 2",
        "activation orders in ResNet-110 and ResNet-164",
        _TABLE2,
        **_CIFAR2016,
    ),
    Experiment(
        "he2016-table3",
        "He et al. 2016, table 3",
        "original and pre-activation units on CIFAR-10",
        _TABLE3,
        **_CIFAR2016,
    ),
    Experiment(
        "he2016-table3-cifar100",
        "He et al. 2016, table 3",
        "original and pre-activation units on CIFAR-100",
        _TABLE3_CIFAR100,
        dataset="cifar100",
        **_CIFAR2016,
    ),
    Experiment(
        "he2016-table4",
        "He et al. 2016, table 4",
        "ResNet-1001 V2 with batches of 128 and 64",
        (_V2_1001, Row("ResNet-1001 V2, batch 64", "resnet1001v2", _P(4.62, 4.69, 0.20), recipe=_TORCH_BATCH64)),
        **_CIFAR2016,
    ),
    Experiment(
        "he2016-table5",
        "He et al. 2016, table 5",
        "original and pre-activation units on ImageNet, one 320x320 crop unless stated otherwise",
        (
            Row("ResNet-152, 224x224", "resnet152", _P(23.0, top5=6.7, decimals=1), views=Views()),
            Row("ResNet-152", "resnet152", _P(21.3, top5=5.5, decimals=1)),
            Row("ResNet-152 V2", "resnet152v2", _P(21.1, top5=5.5, decimals=1)),
            Row("ResNet-200", "resnet200", _P(21.8, top5=6.0, decimals=1)),
            Row("ResNet-200 V2", "resnet200v2", _P(20.7, top5=5.3, decimals=1)),
            Row(
                "ResNet-200 V2, aspect ratios",
                "resnet200v2",
                _P(20.1, top5=4.8, decimals=1),
                recipe={"crop": "aspect_ratio"},
            ),
        ),
        dataset="imagenet2012",
        recipe="paper2016",
        views=_CROP320,
    ),
    Experiment(
        "he2016-figure1",
        "He et al. 2016, figure 1",
        "ResNet-1001 with original and pre-activation units",
        (_V1_1001, _V2_1001),
        **_CIFAR2016,
    ),
    Experiment(
        "he2016-figure3",
        "He et al. 2016, figure 3",
        "shortcuts other than the identity: slower training and a higher final error",
        tuple(_TABLE1[index] for index in (0, 3, 6, 8, 10)),
        **_CIFAR2016,
    ),
    Experiment(
        "he2016-figure6",
        "He et al. 2016, figure 6",
        "batch norm after the addition impairs ResNet-110; pre-activation improves ResNet-164",
        tuple(_TABLE2[index] for index in (0, 1, 5, 9)),
        **_CIFAR2016,
    ),
)
EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in _ALL}


def find_experiment(name: str) -> Experiment:
    """Returns an experiment by name.

    Raises:
        ValueError: it does not exist; the message suggests similar names.
    """
    if name not in EXPERIMENTS:
        hint = suggestion(name, EXPERIMENTS, 2)
        raise ValueError(f"Unknown experiment {name!r}. `keras-resnet reproduce --list` lists all{hint}")
    return EXPERIMENTS[name]
