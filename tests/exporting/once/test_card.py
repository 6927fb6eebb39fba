"""The README of an export states the card's numbers, each where it belongs."""

from __future__ import annotations

import pytest

from keras_resnet.exporting.card import write_card

CARD = {
    "network": "resnet18",
    "parameters": 11_689_512,
    "weights": None,
    "dataset": "ten",
    "test_error": 12.5,
    "classes": 1000,
    "shape": [None, 96, 3],
    "view": None,
    "input": None,
    "normalization": {"mean": [1.0, 2.0, 3.0], "deviation": [4.0, 5.0, 6.0]},
    "versions": {"keras": "3.12", "trained with": {"keras": "3.10"}},
    "batch_norm": {"folded": 20, "left": 0},
    "dtype": "float32",
    "int8": None,
    "measure": None,
    "format": "onnx",
    "default_signature": "image_bytes",
    "signatures": ["image_bytes", "images"],
    "top": 5,
}


@pytest.fixture
def readme(tmp_path):
    """Writes a card with changes, beside the labels; returns the text of the README."""

    def write(**changes):
        (tmp_path / "labels.txt").write_text("ant\nbee\n")
        write_card(tmp_path, {**CARD, **changes})
        return (tmp_path / "README.md").read_text()

    return write


def test_the_properties_of_the_network_are_a_table(readme):
    rows = [line for line in readme().splitlines() if line.startswith("| ") and line.count("|") == 3]
    assert rows == [
        "| | |",  # a table without headings
        "| network | resnet18 |",
        "| parameters | 11,689,512 |",
        "| trained on | ten |",  # without a row for the weights, whose origin is not known
        "| test error | 12.50 % |",
        "| classes | 1,000, named in `labels.txt` |",
        "| computes in | float32 |",
        "| batch norm | folded into the convolutions |",
        "| written with | keras 3.12 |",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_norm": {"folded": 3, "left": 5}}, "| batch norm | 3 of 8 folded into the convolutions |"),
        ({"batch_norm": {"folded": 0, "left": 5}}, "| batch norm | as it was trained |"),
        ({"test_error": 12.5, "validation_error": 13.25}, "| test error | 12.50 % |\n| validation error | 13.25 % |"),
        (
            {"int8": {"images": 1200, "errors": {"int8": 13.5, "float32": 12.25}}, "measure": "cifar10"},
            "int8, calibrated on 1,200 images; error on cifar10: 13.50 % (float32: 12.25 %)",
        ),
        ({"int8": {"images": 60}}, "| computes in | int8, calibrated on 60 images |"),
        ({}, "`model.onnx` takes any number of images as `images`, float32 (batch, any, 96, 3), 0 to 255"),
    ],
)
def test_a_property_is_stated_in_words(readme, changes, words):
    assert words in readme(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        # A dimension of any size is served at 224 pixels, as photographs are tested.
        ({}, "The largest centred part of aspect ratio 224:96 is resized to 224x96 pixels."),
        (
            {"view": {"size": 64, "resize": 73}},
            "The shorter side is resized to 73 pixels, and the centre of 64x64 is cut out.",
        ),
        ({}, "normalises them itself: subtract [1.0, 2.0, 3.0], divide by [4.0, 5.0, 6.0]."),
        ({"normalization": {"mean": [7.0]}}, "normalises them itself: subtract [7.0]."),
        ({"normalization": None}, "takes raw values of 0 to 255 and normalises them itself."),
    ],
)
def test_the_preprocessing_is_stated_in_words(readme, changes, words):
    text = readme(**changes)
    assert words in text and "An image file is turned upright according to EXIF." in text


@pytest.mark.parametrize("default", ["image_bytes", "images"])
def test_the_usage_of_a_saved_model_names_its_signatures(readme, default):
    signatures = ["images", "features"] if default == "images" else ["image_bytes", "images"]
    text = readme(format="saved_model", default_signature=default, signatures=signatures)
    alone = ", with `probabilities` as its only output" if default == "images" else ""
    assert f"The default signature is `{default}`{alone}.\n" in text
    assert [f"| `{name}` |" in text for name in ("image_bytes", "images", "features")] == [
        name in signatures for name in ("image_bytes", "images", "features")
    ]
    assert "float32 (batch, any, 96, 3)" in text and "of the 5 most probable classes" in text
    assert ("`valid` is false" in text) == (default == "image_bytes")
