"""The gradients of single paths add up to the gradient, and their shares to what the binomial theorem says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom

import keras_resnet
from keras_resnet import backend
from keras_resnet.analysis.looking import summed_loss
from keras_resnet.analysis.paths import draw, in_words, path_gradient, paths, shares
from keras_resnet.models.taps import any_size, to_logits
from to_look_at import batches, stranger


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"shortcut": "B", "order": "full_preactivation"},
        {"order": "bn_after_addition", "skip": "shortcut_only_gating"},
        {"unit": "bottleneck", "shortcut": "C"},
        {"dtype": "mixed_bfloat16"},
    ],
)
def test_the_gradients_of_all_paths_add_up_to_the_gradient(seeded, choices):
    model = seeded(keras_resnet.CifarResNet(11 if "unit" in choices else 8, **choices))
    ((images, labels, _),) = batches(3)
    images = images / 255
    one_path = path_gradient(model)
    added = sum(one_path(images, labels, through) for through in itertools.product((0, 1), repeat=3))
    logits = to_logits(model)
    (whole,) = backend.gradient(lambda x, labels: summed_loss(logits(x[0]), labels), model.variables)([images], labels)
    assert np.abs(whole).max() > 1e-4
    tolerance = 0.1 if "dtype" in choices else 2e-4
    np.testing.assert_allclose(added, whole, atol=tolerance * np.abs(whole).max())


def test_a_gradient_is_by_the_weights_as_they_are_then(seeded):
    """Where all logits are the bias alone, no image has any."""
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, labels, _),) = batches(3)
    one_path = path_gradient(model)
    assert np.abs(one_path(images, labels, np.ones(3))).max() > 0
    model.get_layer("logits").kernel.assign(np.zeros((64, 10)))
    assert not one_path(images, labels, np.ones(3)).any()


def test_a_network_made_for_any_size_has_the_same_paths(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, labels, _),) = batches(3)
    expected, found = (path_gradient(each)(images, labels, np.array([1, 0, 1])) for each in (model, any_size(model)))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_no_gradient_comes_through_residuals_that_are_zero():
    model = keras_resnet.CifarResNet(20, zero_init_residual=True, order="full_preactivation")
    rows = paths(model, batches(2), draws=2)["lengths"]
    assert rows[0]["gradient"] > 1e-6
    assert all(row["gradient"] < 1e-20 for row in rows[1:])
    assert rows[0]["share"] == pytest.approx(1)


@pytest.mark.parametrize(("units", "ratio"), [(9, 1.0), (9, 0.5), (54, 0.25), (600, 3.0)])
def test_gradients_that_grow_by_a_factor_a_unit_are_shared_binomially(units, ratio):
    """By the binomial theorem: of (1 + r)^n, paths through k units are C(n, k) r^k."""
    norms = {k: float(np.exp(k * np.log(ratio) - units)) for k in (0, units // 2, units)}
    found = shares(units, norms)
    expected = binom(units, ratio / (1 + ratio))
    np.testing.assert_allclose([row["share"] for row in found["lengths"]], expected.pmf(range(units + 1)), atol=1e-6)
    counts = [row["paths"] for row in found["lengths"]]
    np.testing.assert_allclose(counts, binom(units, 0.5).pmf(range(units + 1)), rtol=1e-6)
    assert found["effective_length"] == pytest.approx(expected.mean(), abs=0.01)
    assert (found["from"], found["to"]) == (expected.ppf(0.05), expected.ppf(0.95))
    assert [row["length"] for row in found["lengths"] if row["measured"]] == list(norms)


def test_images_of_weight_zero_do_not_count(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, labels, weights),) = batches(6)
    weights[3:] = 0
    found = paths(model, [(images, labels, weights)], draws=1)
    assert found == paths(model, [(images[:3], labels[:3], np.ones(3))], draws=1)


def test_what_has_no_paths_is_refused():
    with pytest.raises(ValueError, match="'resnet8' has no shortcuts"):
        paths(keras_resnet.CifarResNet(8, shortcut=None), batches())
    with pytest.raises(ValueError, match="is no network of keras_resnet"):
        paths(stranger(), batches())
    with pytest.raises(ValueError, match="no logits"):
        paths(keras_resnet.CifarResNet(8, include_top=False), batches())
    with pytest.raises(ValueError, match="no images"):
        paths(keras_resnet.CifarResNet(8), [])


def test_it_is_drawn(tmp_path):
    found = paths(keras_resnet.CifarResNet(8), batches(2), draws=1)
    assert "of 3 units" in in_words(found)
    draw({"a $1 network$": found, "another": found}, tmp_path / "paths.png", "paths")
    assert (tmp_path / "paths.png").stat().st_size > 10_000
