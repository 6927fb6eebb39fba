"""The fields of a recipe that follow from a changed one are dropped, and no others."""

from __future__ import annotations

import pytest

from keras_resnet.training.recipe import VIEWS
from keras_resnet.training.recipes import stale

DEEP = {"model": "resnet110", "network": {"shortcut": "B"}, "warmup_rate": 0.01}


@pytest.mark.parametrize(
    ("base", "choices", "dropped"),
    [
        (DEEP, {"learning_rate": 0.2}, set()),
        (DEEP, {"model": "resnet20"}, {"network", "warmup_rate"}),
        # 2016, appendix: to warm up "is not necessary for our proposed residual unit"
        (DEEP, {"network": {"order": "full_preactivation"}}, {"warmup_rate"}),
        (DEEP, {"network": {"shortcut": "C"}}, set()),
        ({"model": "resnet110"}, {"network": {"order": "full_preactivation"}}, set()),  # has no warm-up of its own
        ({"mean": "pixel"}, {"dataset": "cifar100"}, {"mean", *VIEWS}),
        ({"mean": "pixel"}, {"weights": "a.keras"}, {"mean"}),
        *(
            ({"epochs": 10, "iterations": 3900}, {name: value}, {"iterations"})
            for name, value in {"batch_size": 64, "validation": 5000, "images": 1000}.items()
        ),
        ({"epochs": None, "iterations": 64_000}, {"batch_size": 64}, set()),  # the papers count iterations
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, set) else str(value),
)
def test_fields_that_follow_from_a_changed_one_are_dropped(base, choices, dropped):
    assert stale(base, choices, choices.keys()) == dropped
