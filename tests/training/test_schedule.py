"""The learning rate of every step: that of the recipe, and the one that the optimizer used in `model.fit`.

The model has a weight for each step, whose gradient is one in that step and zero in all others: without momentum, it
ends at minus the learning rate of its step. So nothing is read while `fit` runs, when JAX keeps variables elsewhere.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_resnet.training.folder import Progress, RunFolder
from keras_resnet.training.learning_rate import LearningRate, RecipeSchedule, rate_or_schedule
from keras_resnet.training.optimizer import SGD
from keras_resnet.training.recipe import Recipe
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.schedule import plateaus

CIFAR = {"pad": 4, "flip": True, "cutout": 0}


def on_cifar(**choices):
    """Returns a resolved recipe on CIFAR-10's 50,000 training images, which are 390 full batches of 128."""
    choices = {"dataset": "cifar10", **choices}
    return recipe_for(**choices).resolve(50_000 // choices.get("batch_size", 128), CIFAR)


def test_the_papers_schedule_drops_at_32k_and_48k_of_64k_iterations():
    recipe = on_cifar()
    assert (recipe.iterations, recipe.epochs) == (64_000, 164)
    for step, rate in {0: 0.1, 31_999: 0.1, 32_000: 0.01, 47_999: 0.01, 48_000: 0.001, 63_959: 0.001}.items():
        assert recipe.rate(step) == pytest.approx(rate, rel=1e-12), step


def test_the_rate_of_a_speedrun_rises_and_falls_once():
    """To 0.4 for batches of 512, in 16 epochs of 97 steps; in proportion for other batch sizes."""
    recipe = on_cifar(name="speedrun", batch_size=512)
    for step, rate in {0: 0.0, 155: 0.2, 310: 0.4, 16 * 97 // 2: 0.25, 16 * 97: 0.0}.items():
        assert recipe.rate(step) == pytest.approx(rate, abs=1e-3), step
    assert on_cifar(name="speedrun", batch_size=128).learning_rate == pytest.approx(0.1)
    assert (recipe.spec.stem, recipe.spec.depth, recipe.cutout) == ("cifar", 10, 8)
    assert on_cifar(name="speedrun", model="resnet20").spec.depth == 20  # changes belong to the recipe's network


def test_the_default_recipe_is_the_papers():
    recipe = on_cifar()
    assert (recipe.model, recipe.batch_size, recipe.momentum, recipe.nesterov) == ("resnet20", 128, 0.9, False)
    assert (recipe.weight_decay, recipe.decayed, recipe.pad, recipe.flip) == (1e-4, "all", 4, True)
    assert (recipe.validation, recipe.label_smoothing, recipe.ema) == (0, 0.0, 0.0)
    assert (recipe.warmup_rate, recipe.rise, recipe.precision) == (0.0, 0.0, "float32")


@pytest.mark.parametrize("epochs", [1, 2, 10, 164, 300])
def test_the_schedule_scales_with_the_epochs(epochs):
    recipe = on_cifar(epochs=epochs)
    assert recipe.iterations == 390 * epochs
    changes = [step for step in range(1, 390 * epochs) if recipe.rate(step) != recipe.rate(step - 1)]
    assert changes == [390 * epochs // 2, -(-390 * epochs * 3 // 4)]


def test_iterations_and_batch_size_decide_the_epochs():
    assert on_cifar(batch_size=64).epochs == round(64_000 / 781)
    assert on_cifar(iterations=3_900).epochs == 10
    both = on_cifar(iterations=64_000, epochs=5)
    assert (both.epochs, both.rate(5 * 390 - 1)) == (5, 0.1)  # the first epochs of a long schedule


def test_cosine_linear_and_rise():
    for schedule, halfway, late in (("cosine", 0.05, 0.1 * (1 + np.cos(0.9 * np.pi)) / 2), ("linear", 0.05, 0.01)):
        recipe = on_cifar(iterations=1_000, schedule=schedule)
        assert recipe.rate(0) == 0.1
        assert recipe.rate(500) == pytest.approx(halfway)
        assert recipe.rate(900) == pytest.approx(late)
        assert 0 < recipe.rate(999) < 0.001
        risen = on_cifar(iterations=1_000, schedule=schedule, rise=0.2)
        assert [risen.rate(step) for step in (0, 50, 100)] == pytest.approx([0, 0.025, 0.05])
        assert risen.rate(200) == pytest.approx(0.1)
        assert risen.rate(600) == pytest.approx(0.05)
        assert max(risen.rate(step) for step in range(1_000)) == pytest.approx(0.1)


@pytest.mark.parametrize("model", ["resnet110", "resnet1202", "plainnet110", "resnet164"])
def test_deep_networks_warm_up(model):
    recipe = on_cifar(model=model)
    assert (recipe.warmup_rate, recipe.warmup_error) == (0.01, 0.8)


@pytest.mark.parametrize(
    ("model", "network"),
    [("resnet56", {}), ("resnet110v2", {}), ("resnet1001v2", {}), ("resnet110", {"order": "full_preactivation"})],
)
def test_other_networks_do_not_warm_up(model, network):
    assert on_cifar(model=model, network=network).warmup_rate == 0


def test_the_other_orders_of_2016_warm_up():
    """2016, appendix: all CIFAR networks warm up, though "this is not necessary for our proposed residual unit"."""
    for order in ("bn_after_addition", "relu_before_addition", "relu_only_preactivation"):
        assert on_cifar(model="resnet110", network={"order": order}).warmup_rate == 0.01
    assert on_cifar(model="resnet110", warmup_rate=0).warmup_rate == 0


@pytest.mark.parametrize("model", ["resnet20", "resnet110", "resnet110v2", "resnet1001v2"])
def test_2016_warms_all_of_its_networks_up_for_400_iterations(model):
    """ "... for all CIFAR experiments we warm up the training by using a smaller learning rate of 0.01 at the beginning
    400 iterations and go back to 0.1 after that" (2016, appendix)."""
    recipe = on_cifar(name="paper2016", model=model)
    for step, rate in {0: 0.01, 399: 0.01, 400: 0.1, 31_999: 0.1, 32_000: 0.01, 48_000: 0.001}.items():
        assert recipe.rate(step) == pytest.approx(rate, rel=1e-12), step
    assert (recipe.has_fixed_schedule, recipe.warmup_rate) == (True, 0.01)
    assert on_cifar(name="paper2016", model=model, warmup_rate=0).rate(0) == 0.1


def recipe_of(steps, **choices):
    return Recipe(dataset="digits", iterations=steps, epochs=1, network={}, **{"warmup_rate": 0.0, **choices})


def model_of(steps, rate=123.0):
    """Returns the model that records the rates; its metric "accuracy" is the mean of the labels."""
    model = keras.Sequential([keras.Input((steps,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(SGD(rate), loss=_output, metrics=[keras.metrics.MeanMetricWrapper(_label, name="accuracy")])
    return model


@keras.saving.register_keras_serializable("tests")
def _output(y_true, y_pred):
    return y_pred


@keras.saving.register_keras_serializable("tests")
def _label(y_true, y_pred):
    return y_true


def used_rates(model, callback, steps, epochs=(0, 1, 1), accuracies=None):
    """Fits one sample per step; `epochs`: the first, the end, and how many there are. Returns the rate of each step."""
    first, last, all_epochs = epochs
    per_epoch = steps // all_epochs
    labels = np.zeros(steps) if accuracies is None else np.asarray(accuracies)

    def stream():
        for step in range(first * per_epoch, last * per_epoch):
            yield np.eye(steps, dtype="float32")[step : step + 1], labels[step : step + 1].astype("float32")

    model.fit(
        stream(),
        steps_per_epoch=per_epoch,
        initial_epoch=first,
        epochs=last,
        callbacks=[callback],
        shuffle=False,
        verbose=0,
    )
    return -model.get_weights()[0][:, 0]


SCHEDULES = {
    "step": {},
    "cosine": {"schedule": "cosine", "rise": 0.3},
    "linear": {"schedule": "linear"},
    "step after a rise": {"rise": 0.3},
    "warm-up": {"warmup_rate": 0.01, "warmup_iterations": 5},
}


@pytest.mark.parametrize("choices", SCHEDULES.values(), ids=SCHEDULES)
def test_the_optimizer_uses_the_rate_of_the_step(choices):
    recipe = recipe_of(12, **choices)
    model = model_of(12, rate_or_schedule(recipe))
    used = used_rates(model, LearningRate(recipe, 4, Progress()), 12, epochs=(0, 3, 3))
    np.testing.assert_allclose(used, [recipe.rate(step) for step in range(12)], rtol=1e-6)
    if not choices:
        np.testing.assert_allclose(used, [0.1] * 6 + [0.01] * 3 + [0.001] * 3, rtol=1e-6)


def test_the_rate_in_the_history_is_that_of_the_last_step():
    callback, logs = LearningRate(recipe_of(12), 6, Progress()), {"accuracy": 0.5}
    rates = [callback.on_epoch_end(epoch, logs) or logs["learning_rate"] for epoch in (0, 1)]
    assert rates == pytest.approx([0.1, 0.001])  # the rate drops with the first step of the second epoch


def test_the_warm_up_ends_after_the_step_that_reaches_the_error():
    """The error of the progress bar: over the epoch so far. Hits: none, none, then 1 of 4 (75 % error)."""
    recipe = recipe_of(8, warmup_rate=0.01, drops=())
    used = used_rates(model_of(8), LearningRate(recipe, 8, Progress()), 8, accuracies=[0, 0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(used, [0.01] * 4 + [0.1] * 4, rtol=1e-6)  # and does not resume at 1 of 8


def test_the_warm_up_does_not_end_before_the_error_is_below_80_percent():
    recipe = recipe_of(8, warmup_rate=0.01, drops=())
    used = used_rates(model_of(8), LearningRate(recipe, 8, Progress()), 8, accuracies=[0, 0, 0, 0, 0, 1, 0, 0])  # 83 %
    np.testing.assert_allclose(used, [0.01] * 8, rtol=1e-6)
    equal = recipe_of(8, warmup_rate=0.01, warmup_error=0.75, drops=())
    used = used_rates(model_of(8), LearningRate(equal, 8, Progress()), 8, accuracies=[0, 0, 0, 1, 0, 0, 0, 0])  # 75 %
    np.testing.assert_allclose(used, [0.01] * 8, rtol=1e-6)


def test_a_warm_up_that_does_not_end_keeps_to_the_schedule():
    recipe = recipe_of(8, warmup_rate=0.01, drops=(0.5,), drop_factor=100.0)
    used = used_rates(model_of(8), LearningRate(recipe, 4, Progress()), 8, epochs=(0, 2, 2))
    np.testing.assert_allclose(used, [0.01] * 4 + [0.001] * 4, rtol=1e-6)
    recipe = recipe_of(8, warmup_rate=0.01, warmup_iterations=8, drops=(0.5,), drop_factor=100.0)
    np.testing.assert_allclose([recipe.rate(step) for step in range(8)], [0.01] * 4 + [0.001] * 4, rtol=1e-12)


@pytest.mark.parametrize(("hits", "first_rate"), [([0, 0, 0], 0.01), ([0, 1, 0], 0.1)], ids=["warming", "over"])
def test_a_resumed_run_knows_whether_the_warm_up_is_over(tmp_path, hits, first_rate):
    recipe = recipe_of(6, warmup_rate=0.01, drops=())
    folder, rate = RunFolder(tmp_path), LearningRate(recipe, 3, Progress())
    folder.begin(recipe)
    model = model_of(6)
    used_rates(model, rate, 6, epochs=(0, 1, 2), accuracies=[*hits, 0, 0, 0])
    folder.write_checkpoint(model, [], Progress(history=[{"epoch": 1}], state=rate.state))

    model = model_of(6)
    used = used_rates(model, LearningRate(recipe, 3, folder.restore(model, [])), 6, epochs=(1, 2, 2))
    np.testing.assert_allclose(used[3], first_rate, rtol=1e-6)


def test_a_plateau_is_patience_epochs_without_a_better_error():
    errors = [9, 8, 8, 8, 7, 7, 7.5, 7.1, 6, 6.5]
    counts = [plateaus(errors[:epochs], patience=2) for epochs in range(len(errors) + 1)]
    assert counts == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert plateaus(errors, patience=3) == 1
    assert plateaus([], patience=1) == 0


def test_the_rate_is_divided_by_ten_after_every_plateau_also_in_a_resumed_run():
    recipe = recipe_of(8, schedule="plateau", patience=2)
    progress = Progress([{"test_error": error} for error in (50, 60, 50)])
    used = used_rates(model_of(8), LearningRate(recipe, 2, progress), 8, epochs=(3, 4, 4))
    np.testing.assert_allclose(used[6:], [0.01, 0.01], rtol=1e-6)


def test_the_rate_changes_with_the_batch_and_not_with_its_parts():
    recipe = recipe_of(6, accumulate=2, batch_size=4)
    used = used_rates(model_of(12, RecipeSchedule(recipe)), LearningRate(recipe, 12, Progress()), 12)
    np.testing.assert_allclose(used, [0.1] * 6 + [0.01] * 4 + [0.001] * 2, rtol=1e-6)
    recipe = recipe_of(3, accumulate=2, batch_size=4, schedule="linear")
    used = used_rates(model_of(6, RecipeSchedule(recipe)), LearningRate(recipe, 6, Progress()), 6)
    np.testing.assert_allclose(used, [0.1, 0.1, 0.2 / 3, 0.2 / 3, 0.1 / 3, 0.1 / 3], rtol=1e-6)


@pytest.mark.parametrize(("step", "rates"), [(0, [0.1] * 6 + [0.01] * 4 + [0.001] * 2), (6, [0.01] * 4 + [0.001] * 8)])
def test_a_rate_that_depends_on_errors_counts_batches_and_not_their_parts_from_the_step_on(step, rates):
    recipe = recipe_of(6, accumulate=2, batch_size=4, warmup_rate=1.0)  # a limit above all rates
    used = used_rates(model_of(12), LearningRate(recipe, 12, Progress(step=step)), 12)
    np.testing.assert_allclose(used, rates, rtol=1e-6)


def test_a_schedule_is_saved_with_the_model_and_resumes_where_it_stopped(tmp_path):
    recipe = recipe_of(8, schedule="cosine")
    model = model_of(8, RecipeSchedule(recipe))
    used_rates(model, LearningRate(recipe, 4, Progress()), 8, epochs=(0, 1, 2))
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    used = used_rates(model, LearningRate(recipe, 4, Progress()), 8, epochs=(1, 2, 2))
    np.testing.assert_allclose(used, [recipe.rate(step) for step in range(8)], rtol=1e-6)


def test_a_rate_that_depends_on_errors_is_no_fixed_schedule():
    for choices in ({"schedule": "plateau", "rise": 0.1}, {"schedule": "cosine", "warmup_rate": 0.01}):
        assert rate_or_schedule(recipe_of(8, **choices)) == 0.1


def test_a_rate_for_another_batch_size_is_scaled_once():
    probe = {"freeze_until": "features", "probe_epochs": 5, "probe_rate": 0.2}
    recipe = on_cifar(name="paper", weights="imagenet", batch_size=512, scaled_from=128, **probe)
    for resolved in (recipe, recipe.resolve(97, CIFAR)):
        assert (resolved.learning_rate, resolved.probe_rate, resolved.scaled_from) == (0.4, 0.8, 512)


def test_the_papers_recipes_for_imagenet():
    """2015, section 3.4, and 2016, section 5: batches of 256; 0.1 divided by 10 at plateaus, or at epochs 30 and 60."""
    defaults = {"size": 224, "crop": "scale", "scales": (256, 480), "color": "none", "flip": True, "mean": "channel"}
    first, second = (
        recipe_for(name, dataset="imagenet2012").resolve(1_281_167 // 256, defaults)
        for name in ("paper2015", "paper2016")
    )
    for recipe in (first, second):
        assert (recipe.batch_size, recipe.learning_rate, recipe.weight_decay) == (256, 0.1, 1e-4)
        assert (recipe.scales, recipe.color, recipe.warmup_rate) == ((256, 480), "pca", 0)
    assert (first.iterations, first.epochs, first.schedule) == (600_000, 120, "plateau")
    assert second.epochs == 90
    rates = [second.rate(epoch * 5004) for epoch in (0, 29, 30, 59, 60, 89)]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-12)
    assert recipe_for("paper", dataset="folder:photos") == recipe_for("paper2016", dataset="folder:photos")


def test_options_that_do_not_apply_to_the_data_are_refused():
    with pytest.raises(ValueError, match=r"`color` does not apply to cifar10. Received: 'pca'"):
        on_cifar(color="pca")
    with pytest.raises(ValueError, match=r"`pad` does not apply to folder:photos. Received: 4"):
        recipe_for("paper", dataset="folder:photos", pad=4).resolve(10, {"size": 224, "color": "none"})
