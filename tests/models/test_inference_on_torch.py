"""At inference on processors, Torch computes a convolution and the layers after it in one kernel, with kept weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import layers

from comparing import alike, numpy
from keras_resnet.models.fast_layers import use_fast_layers
from keras_resnet.models.taps import features, taps
from twins import EVERY_CHOICE, images, twin_networks

if keras.backend.backend() == "torch":
    import torch
    from torch.nn import functional
    from torch.utils.flop_counter import FlopCounterMode

    @pytest.fixture
    def ordinary(monkeypatch):
        """Counts the convolutions that are computed by themselves, while no gradients are recorded."""
        called, convolve = [], functional.conv2d

        def spy(*arguments, **keywords):
            called.append(1)
            return convolve(*arguments, **keywords)

        monkeypatch.setattr(functional, "conv2d", spy)
        with torch.no_grad():
            yield called

    FIRST = {"data_format": "channels_first"}

    @pytest.mark.parametrize(
        "choices",
        [*EVERY_CHOICE, FIRST, {**FIRST, "order": "full_preactivation", "stem": "imagenet"}],
        ids=lambda choices: "-".join(map(str, choices.values())),
    )
    def test_every_variant_computes_like_one_of_keras_layers(ordinary, choices):
        model, plain = twin_networks(**choices)
        x = images(model)
        found, again = model(x), model(x[:1])  # the latter with weights that were laid out for other images
        gates = [layer for layer in model.layers if getattr(layer, "activation", None) is keras.activations.sigmoid]
        assert len(ordinary) == 2 * len(gates)
        alike(found, plain(x))
        alike(again, plain(x[:1]))

    def test_inputs_and_outputs_are_never_overwritten(ordinary):
        model, plain = twin_networks(unit="bottleneck", shortcut="A")
        x = torch.tensor(images(model))
        given, names = x.clone(), list(taps(model))
        found = features(model, names)(x)
        assert torch.equal(x, given)
        assert not ordinary
        expected = features(plain, names)(x)
        for name in names:
            alike(found[name], expected[name], name=name)

    CHANGES = {
        "assigned": lambda weight: weight.assign(1.5 * weight),
        "in place": lambda weight: weight.value.mul_(1.5),
        "its data in place": lambda weight: weight.value.data.mul_(1.5),
        "other memory": lambda weight: setattr(weight.value, "data", weight.value.data * 1.5),
        "another tensor": lambda weight: setattr(weight, "_value", torch.nn.Parameter(weight.value * 1.5)),
    }

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_a_changed_variable_is_noticed(ordinary, change):
        model, plain = twin_networks()
        x = images(model)
        for name in ("conv1/kernel", "bn1/gamma", "bn1/beta", "bn1/moving_mean", "bn1/moving_variance"):
            before = numpy(model(x))
            layer, variable = name.split("/")
            change(getattr(model.get_layer(f"stage1_unit1_{layer}"), variable))
            found = numpy(model(x))
            assert np.abs(found - before).max() > 1e-3, name
            plain.set_weights(model.get_weights())
            alike(found, plain(x), name=name)

    def test_weights_follow_training_during_which_they_are_released():
        model, plain = twin_networks()
        x = images(model)
        for each in (model, plain):
            each.compile(keras.optimizers.SGD(0.1), "mse")
        for _ in range(2):
            alike(model.predict_on_batch(x), plain.predict_on_batch(x))
            assert model._plan.weights.made
            model.train_on_batch(x, np.eye(3, 5))
            assert not model._plan.weights.made
            plain.set_weights(model.get_weights())
        alike(model.predict_on_batch(x), plain.predict_on_batch(x))

    @pytest.mark.filterwarnings(
        "ignore::torch.jit.TracerWarning", "ignore:.*is deprecated:DeprecationWarning", "ignore:TF32"
    )
    def test_layers_are_computed_one_by_one_where_anything_else_than_values_is_asked_for(ordinary):
        """Operations, many calls at once, derivatives, a graph, or other weights, kernels or precisions."""
        model, plain = twin_networks()
        x = torch.tensor(images(model))
        kernels = sum(isinstance(layer, layers.Conv2D) for layer in model.layers)
        model(x)
        assert not ordinary

        def operations(network):
            with FlopCounterMode(display=False) as counter:
                network(x)
            return counter.get_total_flops()

        def many(network):
            return torch.vmap(network)(x[:, None])[:, 0] if network is model else network(x)  # Keras's layers cannot

        def derivative(network):
            return torch.func.jvp(network, (x,), (torch.ones_like(x),))[1]

        def stateless(network):
            values = (
                [0.5 * variable.value for variable in kind]
                for kind in (network.trainable_variables, network.non_trainable_variables)
            )
            return network.stateless_call(*values, x)[0]

        def without_onednn(network):
            with torch.backends.mkldnn.flags(enabled=False):
                return network(x)

        def graph(network):
            return torch.jit.trace(network, (x,), check_trace=False)(x)

        def in_half_precision(network):
            with torch.autocast("cpu", torch.float16):
                return network(x)

        for compute in (many, derivative, stateless, without_onednn, graph, in_half_precision):
            ordinary.clear()
            found = compute(model)
            assert len(ordinary) == kernels, compute
            alike(found, compute(plain), 1e-2 if compute is in_half_precision else 1e-4, compute.__name__)
        assert operations(model) == operations(plain) > 0

    def test_graphs_of_other_shapes(ordinary):
        """A sum with the convolution's own images, or of other sizes, layers called twice, an empty batch."""
        image = keras.Input((6, 6, 4))
        norm, kernel = layers.BatchNormalization(), layers.Conv2D(4, 3, padding="same", groups=2)
        x = layers.ReLU()(layers.Add()([image, norm(layers.Conv2D(4, 1)(image))]))
        x = layers.Add()([layers.BatchNormalization()(kernel(x)), x])
        x = layers.Activation("relu")(layers.Add()([norm(kernel(x)), layers.Conv2D(4, 6)(x)]))
        x = layers.Add()([layers.Conv2D(4, 6)(x), x])
        summed = layers.Conv2D(4, 3, dilation_rate=2, padding="same", use_bias=False)(x)
        x = layers.Add()([summed, layers.Conv2D(4, 3, strides=3)(layers.ZeroPadding2D(6)(x)), summed])
        plain = keras.Model(image, [x, layers.Conv2D(3, 1, activation="tanh")(x)])
        rng = np.random.default_rng(1)
        plain.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in plain.weights])
        model = use_fast_layers(keras.models.clone_model(plain))
        model.set_weights(plain.get_weights())
        x = images(plain)
        for found, expected in zip(model(x), plain(x), strict=True):
            alike(found, expected)
        assert model(x[:0])[0].shape == (0, 6, 6, 4)

    def test_layers_that_have_changed_are_computed_one_by_one(ordinary):
        changes = {
            "conv1": lambda layer: layer.enable_lora(2) or layer.lora_kernel_b.assign(layer.lora_kernel_b + 1.0),
            "relu1": lambda layer: setattr(layer, "negative_slope", 0.5),
            "conv2": lambda layer: setattr(layer, "dtype_policy", keras.DTypePolicy("mixed_bfloat16")),
        }
        for name, change in changes.items():
            model, plain = twin_networks()
            x = images(model)
            before = numpy(model(x))
            for each in (model, plain):
                change(each.get_layer(f"stage1_unit1_{name}"))
            plain.set_weights(model.get_weights())
            found = model(x)
            alike(found, plain(x), 1e-2 if name == "conv2" else 1e-4, name)
            assert np.abs(numpy(found) - before).max() > 1e-3

    @pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("mixed_bfloat16", 0.1), ("float16", 0.1)])
    def test_in_other_precisions(ordinary, dtype, tolerance):
        model, plain = twin_networks(dtype, shortcut="A", stem="imagenet")
        x = images(model)
        found, expected = model(x), plain(x)
        assert found.dtype == expected.dtype
        alike(found, expected, tolerance)

    def test_bfloat16_is_no_less_accurate_than_layers_one_by_one(ordinary):
        exact, _ = twin_networks("float64", unit="bottleneck", order="full_preactivation")
        model, plain = twin_networks("mixed_bfloat16", unit="bottleneck", order="full_preactivation")
        x, expected = images(model), numpy(exact(images(model)))
        error, ordinary_error = (np.abs(numpy(each(x)) - expected).mean() for each in (model, plain))
        assert error < 1.5 * ordinary_error

    def test_variables_whose_changes_torch_does_not_count_are_read_at_every_call():
        with torch.inference_mode():
            model, plain = twin_networks()
            x = images(model)
            model(x)
            kernel = model.get_layer("stage1_unit1_conv1").kernel
            kernel.value[:, :, 0] += 1.0
            plain.set_weights(model.get_weights())
            alike(model(x), plain(x))

    def test_hooks_of_torch_see_each_layer(ordinary):
        model, plain = twin_networks()
        x, seen = images(model), []
        model(x)
        for each in (model, plain):
            each.get_layer("stage1_unit1_bn1").register_forward_hook(lambda *call: seen.append(call[-1]))
            each(x)
        alike(*seen)

    def test_several_threads_make_and_use_the_weights_at_once():
        model, plain = twin_networks()
        batches = [images(model, batch) for batch in (1, 2, 3) for _ in range(8)]
        with ThreadPoolExecutor(6) as threads:
            found = list(threads.map(model.predict_on_batch, batches))
        for one, batch in zip(found, batches, strict=True):
            alike(one, plain.predict_on_batch(batch))
