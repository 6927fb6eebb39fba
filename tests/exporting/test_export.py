"""Exported networks give the outputs of the network, in programs without this package."""

from __future__ import annotations

import json
import subprocess

import keras
import numpy as np

import keras_resnet


def test_every_signature_gives_the_outputs_of_the_network(ask, served, network, photographs, expected):
    """To 1e-5, on real photographs, for a network of every backend; and the names of the most probable classes."""
    images, probabilities = expected
    files = np.array([path.read_bytes() for path in photographs], object)
    answers = ask(
        served,
        serving_default__image_bytes=files,
        image_bytes__image_bytes=files,
        images__images=images.astype("float32"),
        images_uint8__images=images,
        features__images=images.astype("float32"),
    )
    for signature in ("serving_default", "image_bytes", "images", "images_uint8"):
        np.testing.assert_allclose(answers[f"{signature}/probabilities"], probabilities, atol=1e-5)
        order = np.argsort(-probabilities, axis=1)[:, :5]
        np.testing.assert_allclose(
            answers[f"{signature}/scores"], np.take_along_axis(probabilities, order, 1), atol=1e-5
        )
        assert answers[f"{signature}/classes"].tolist() == np.array(network[1]["class_names"])[order].tolist()
    assert b"XlaCallModule" not in (served / "saved_model.pb").read_bytes()  # an export by Keras on JAX contains one
    assert answers["serving_default/valid"].all()
    pooled = keras_resnet.features(network[0], ["pooled"])(images.astype("float32"))["pooled"]
    np.testing.assert_allclose(answers["features/features"], keras.ops.convert_to_numpy(pooled), rtol=1e-4, atol=1e-4)


def test_the_card_describes_the_model_and_its_checksums_are_correct(served):
    card = json.loads((served / "model_card.json").read_text())
    known = {"network": "resnet18", "classes": 10, "test_error": 12.5, "dataset": "ten", "fold": True, "top": 5}
    assert known.items() <= card.items()
    sums = "".join(f"{digest}  {name}\n" for name, digest in card["files"].items())
    done = subprocess.run(["sha256sum", "--check", "--strict"], input=sums, cwd=served, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert {"saved_model.pb", "assets/labels.txt", "variables/variables.index"} <= set(card["files"])
    readme = (served / "README.md").read_text()
    cut, norms = (
        "resized to 73 pixels, and the centre of 64x64 is cut out",
        "| batch norm | folded into the convolutions |",
    )
    for words in (cut, norms, "12.50 %", "| `features` | `images`: float32 (batch, 64, 64, 3)"):
        assert words in readme
    assert (served / "assets" / "labels.txt").read_text(encoding="utf-8").splitlines()[2] == "Tüte"


def test_a_model_in_memory_is_exported_with_the_given_names_and_view(network, tmp_path):
    """They may be NumPy's."""
    names = [f"class {number}" for number in range(10)]
    card = keras_resnet.export(
        network[0],
        tmp_path / "own",
        class_names=np.array(names),
        view={"size": np.int64(64), "resize": np.int64(64)},
        warm_up=(),
        dtype="bfloat16",
        top=3,
        say=(lines := []).append,
    )
    stages = ["Folding batch norm into convolutions.", "Writing the format saved_model."]
    assert [line for line in lines if line in stages] == stages
    assert (card["dtype"], card["top"]) == ("bfloat16", 3)
    assert (card["network"], card["view"]) == (network[0].name, {"size": 64, "resize": 64})
    assert (tmp_path / "own" / "1" / "assets" / "labels.txt").read_text().splitlines() == names
    assert not (tmp_path / "own" / "1" / "assets.extra").exists()
