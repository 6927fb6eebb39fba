"""An experiment of two small networks on the digits, the second of which diverges."""

from __future__ import annotations

from keras_resnet.experiments.rows import Experiment, Published, Row

TINY = {"images": 64, "epochs": 2, "iterations": None, "batch_size": 32}
EXPERIMENT = Experiment(
    "tiny",
    "Nobody 2015, table 0",
    "two <small> networks",
    (
        Row("narrow", "resnet8", Published(8.75), {"width": 0.25, "shortcut": "B"}, TINY),
        Row(
            "diverges",
            "resnet8",
            Published(fail=True),
            {"width": 0.25, "shortcut": "B"},
            {**TINY, "learning_rate": 1e30},
        ),
    ),
    dataset="digits",
)
