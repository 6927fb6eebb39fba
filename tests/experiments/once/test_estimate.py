"""What runs cost is estimated from the papers' numbers and the speed of the machine."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import facts
from keras_resnet.experiments import estimate
from keras_resnet.experiments.budget import Budget
from keras_resnet.experiments.papers import find_experiment
from keras_resnet.experiments.runs import plan
from keras_resnet.models.cifar import ResNet20


def run(name, row, folder, budget=None):
    experiment = find_experiment(name).only([row])
    return plan(budget.scale(experiment) if budget else experiment, folder, [0])[0]


@pytest.mark.parametrize(
    ("name", "row", "parameters", "images"),
    [
        ("he2015-table3", "ResNet-34 B", facts.IMAGENET_PARAMETERS[34]["v1_B"], 600_000 * 256),  # 2015, section 3.4
        ("he2015-table6", "ResNet-56", facts.CIFAR_PARAMETERS[56]["v1_A"], 64_000 * 128),  # 2015, section 4.2
        # CIFAR-100's 90 further classes have 256 weights and a bias each.
        ("he2016-table3-cifar100", "ResNet-164", facts.CIFAR_BOTTLENECK_PARAMETERS[164]["v1"] + 90 * 257, 64_000 * 128),
        ("he2016-table4", "ResNet-1001 V2, batch 64", facts.CIFAR_BOTTLENECK_PARAMETERS[1001]["v2"], None),
    ],
)
def test_a_run_costs_what_its_network_and_images_do(tmp_path, name, row, parameters, images):
    cost = estimate.costs(run(name, row, tmp_path), 1e9)
    assert (cost["row"], cost["parameters"]) == (row, parameters)
    assert images in (None, cost["images"])
    assert cost["hours"] == pytest.approx(cost["macs"] * cost["images"] / 1e9 / 3600, abs=0.01)


@pytest.mark.parametrize(("images", "total"), [(1000, 3000), (None, 150_000)])
def test_epochs_are_of_the_images_that_are_trained_on(tmp_path, images, total):
    cost = estimate.costs(run("he2015-table6", "ResNet-20", tmp_path, Budget(epochs=3, images=images)), 1e9)
    assert cost["images"] == total


def test_a_run_is_missing_until_its_folder_exists_and_done_when_it_has_a_result(tmp_path):
    wanted = run("he2015-table6", "ResNet-20", tmp_path)
    states = [estimate.costs(wanted, 1e9)["state"]]
    wanted.folder.mkdir(parents=True)
    states.append(estimate.costs(wanted, 1e9)["state"])
    done = SimpleNamespace(recipe=wanted.recipe, row=wanted.row, folder=wanted.folder, result=lambda: {"error": 8.0})
    states.append(estimate.costs(done, 1e9)["state"])
    assert states == ["missing", "begun", "done"]


def test_the_speed_is_that_of_a_step_without_compilation(monkeypatch):
    """Two slow steps, then three of 2, 4 and 3 seconds: 128 images of 40,551,040 multiply-adds take 3 seconds."""
    clock, steps = SimpleNamespace(now=0.0), [60.0, 50.0, 2.0, 4.0, 3.0]

    class Stub:
        """Stands in for the network."""

        spec = ResNet20.spec

        def __init__(self, **_):
            pass

        def compile(self, *_):
            pass

        def train_on_batch(self, images, labels):
            assert images.shape == (128, 32, 32, 3) and labels.shape == (128,)
            clock.now += steps.pop(0)

    monkeypatch.setattr("keras_resnet.models.cifar.ResNet20", Stub)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    assert estimate.speed() == pytest.approx(128 * 40_551_040 / 3)
