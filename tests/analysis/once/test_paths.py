"""Numbers of paths, their shares of the gradient, and wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

import keras_resnet
from keras_resnet.analysis.paths import draw, paths, shares, summary_line
from to_look_at import batches, check_that_paths_add_up, stranger


@pytest.mark.parametrize(
    "choices",
    [
        {"shortcut": "B", "order": "full_preactivation"},
        {"order": "bn_after_addition", "skip": "shortcut_only_gating"},
        {"unit": "bottleneck", "shortcut": "C"},
    ],
)
def test_the_gradients_of_all_paths_add_up_to_the_gradient(seeded, choices):
    check_that_paths_add_up(seeded(keras_resnet.CifarResNet(11 if "unit" in choices else 8, **choices)))


def test_no_gradient_flows_through_residuals_of_zero():
    model = keras_resnet.CifarResNet(20, zero_init_residual=True, order="full_preactivation")
    rows = paths(model, batches(2), draws=2)["lengths"]
    assert rows[0]["gradient"] > 1e-6
    assert all(row["gradient"] < 1e-20 for row in rows[1:])
    assert rows[0]["share"] == pytest.approx(1)


def test_paths_are_drawn_by_the_seed(seeded):
    model = seeded(keras_resnet.CifarResNet(14))
    first, again, other = (paths(model, batches(1), draws=1, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first["lengths"] != other["lengths"]


@pytest.mark.parametrize(("units", "ratio"), [(9, 1.0), (9, 0.5), (54, 0.25), (600, 3.0)])
def test_gradients_that_grow_by_a_factor_per_unit_have_binomial_shares(units, ratio):
    """By the binomial theorem, the paths through k units contribute C(n, k) r^k to (1 + r)^n."""
    norms = {k: float(np.exp(k * np.log(ratio) - units)) for k in (0, units // 2, units)}
    result = shares(units, norms)
    expected = binom(units, ratio / (1 + ratio))
    np.testing.assert_allclose([row["share"] for row in result["lengths"]], expected.pmf(range(units + 1)), atol=1e-6)
    counts = [row["paths"] for row in result["lengths"]]
    np.testing.assert_allclose(counts, binom(units, 0.5).pmf(range(units + 1)), rtol=1e-6)
    assert result["effective_length"] == pytest.approx(expected.mean(), abs=0.01)
    assert (result["from"], result["to"]) == (expected.ppf(0.05), expected.ppf(0.95))
    assert [row["length"] for row in result["lengths"] if row["measured"]] == list(norms)


def test_plain_networks_other_models_and_no_images_are_refused():
    with pytest.raises(ValueError, match=r"must have shortcuts: .* Received: 'resnet8'"):
        paths(keras_resnet.CifarResNet(8, shortcut=None), batches())
    with pytest.raises(ValueError, match="is not a network of keras_resnet"):
        paths(stranger(), batches())
    with pytest.raises(ValueError, match="no logits"):
        paths(keras_resnet.CifarResNet(8, include_top=False), batches())
    with pytest.raises(ValueError, match="no images"):
        paths(keras_resnet.CifarResNet(8), [])


def test_the_result_is_drawn(tmp_path):
    result = paths(keras_resnet.CifarResNet(8), batches(2), draws=1)
    assert "of 3 units" in summary_line(result)
    draw({"a $1 network$": result, "another": result}, tmp_path / "paths.png", "paths")
    assert (tmp_path / "paths.png").stat().st_size > 10_000
