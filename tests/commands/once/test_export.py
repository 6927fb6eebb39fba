"""`keras-resnet export`: the lines that it prints; `tests/exporting` tests the export itself."""

from __future__ import annotations

from pathlib import Path

import pytest

CARD = {"network": "resnet20", "parameters": 269_722, "classes": 10, "out": "a b/1", "int8": None, "measure": None}
SERVE = "Serve it with tensorflow_model_server --model_base_path="


@pytest.mark.parametrize(
    ("more", "int8_line", "served"),
    [
        ({"format": "saved_model"}, "", True),
        ({"format": "litert"}, "", False),
        (
            {"format": "openvino", "int8": {"errors": {"int8": 9.1, "float32": 8.75}}, "measure": "cifar10"},
            "cifar10: 9.10 % error in int8, 8.75 % in float32\n",
            False,
        ),
    ],
)
def test_export_prints_what_it_wrote_and_how_to_serve_it(command, monkeypatch, more, int8_line, served):
    monkeypatch.setattr("keras_resnet.exporting.export.export", lambda *_, **__: {**CARD, **more})
    status, out, err = command("export runs/resnet20 'a b'")
    assert (status, err) == (0, "")
    assert out == (
        f"resnet20: 269,722 parameters, 10 classes\n{int8_line}"
        "Written to a b/1/; see README.md there.\n" + (f"{SERVE}'{Path('a b').resolve()}'\n" if served else "")
    )
