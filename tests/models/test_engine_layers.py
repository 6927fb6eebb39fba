"""What the backends' own layers promise beyond equal results (`test_fast_layers.py`): derivatives, no extra work."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from comparing import alike, numpy
from keras_resnet import ResNet
from keras_resnet.backend import onednn
from keras_resnet.models.fast_layers import use_fast_layers
from twins import RNG, convolutions, trained_alike, twins


def product_gradients(monkeypatch, rule, gradients):
    """Asserts that kernels' gradients in bfloat16, as products, are Keras's in float32; all numbers are small integers.

    Args:
        rule: the module that says which gradients are products.
        gradients: a function from a model, images and the gradient of its output to the gradients of both.
    """
    for name, value in {"amx": lambda: True, "MANY_CHANNELS": 16, "FEW_PIXELS": 72}.items():
        monkeypatch.setattr(rule, name, value)
    for kernel, strides, padding in itertools.product((2, 3, (3, 1)), (1, 2, (1, 2)), ("same", "valid")):
        models = []
        for dtype in ("float32", "bfloat16"):
            image = keras.Input((9, 8, 16), dtype=dtype)
            convolution = layers.Conv2D(6, kernel, strides, padding, use_bias=False, dtype=dtype)
            models.append(keras.Model(image, convolution(image)))
            convolution.set_weights([np.random.default_rng(0).integers(-1, 2, convolution.kernel.shape)])
        images = RNG.integers(-1, 2, (2, 9, 8, 16)).astype("float32")
        upstream = RNG.integers(-1, 2, (2, *models[0].output_shape[1:])).astype("float32")
        expected, found = (gradients(each, images, upstream) for each in (models[0], use_fast_layers(models[1])))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(numpy(one), numpy(other), f"{kernel} {strides} {padding}")


if keras.backend.backend() == "jax":
    import jax
    import jax.export

    from keras_resnet.backend import jax_layers

    @pytest.mark.parametrize("wide", [True, False])
    def test_kernels_learn_the_same_on_every_processor(monkeypatch, wide):
        """With AVX-512, XLA's convolutions compute their gradients; without it, products of matrices do."""
        monkeypatch.setattr(jax_layers, "avx512", lambda: wide)
        chosen = [(3, 1, "same"), (2, 1, "same"), ((1, 4), 1, "same")]
        chosen += [(3, 2, "valid"), (7, 2, "valid"), (2, (3, 1), "valid")]
        models = twins(convolutions(chosen), (11, 9, 16))
        trained_alike(models, RNG.normal(size=(2, 11, 9, 16)).astype("float32"))

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_max_pooling_in_half_precision_is_that_of_keras_in_float32(dtype):
        image = keras.Input((9, 8, 3), dtype=dtype)
        fast = use_fast_layers(keras.Model(image, layers.MaxPooling2D(3, 2, dtype=dtype)(image)))
        images, gradient = (RNG.normal(size=(2, *shape)).astype(dtype) for shape in ((9, 8, 3), (4, 3, 3)))
        found, back = jax.vjp(fast, images)
        expected, expected_back = jax.vjp(layers.MaxPooling2D(3, 2), images.astype("float32"))
        assert found.dtype == dtype
        np.testing.assert_array_equal(numpy(found), numpy(expected))
        alike(back(gradient)[0], expected_back(gradient.astype("float32"))[0], 0.01)

    @pytest.mark.parametrize(("strides", "padding"), [(1, "same"), (2, "valid")])
    def test_a_convolution_has_all_derivatives_of_keras_also_forward(monkeypatch, strides, padding):
        monkeypatch.setattr(jax_layers, "avx512", lambda: False)
        plain, fast = twins(lambda dtype: [layers.Conv2D(3, 3, strides, padding, use_bias=False)], (7, 6, 16))
        images, along = (RNG.normal(size=(2, 7, 6, 16)).astype("float32") for _ in range(2))
        kernel, kernel_along = (RNG.normal(size=(3, 3, 16, 3)).astype("float32") for _ in range(2))
        found, expected = [], []
        for model, derivatives in ((fast, found), (plain, expected)):

            def cubes(kernel, images, model=model):
                return model.stateless_call([kernel], [], images)[0] ** 3

            def total(kernel, images, cubes=cubes):
                return cubes(kernel, images).sum()

            derivatives += jax.jvp(cubes, (kernel, images), (kernel_along, along))  # not of their sum, which may cancel
            derivatives.append(jax.jvp(jax.grad(total), (kernel, images), (kernel_along, along))[1])
        for one, other in zip(found, expected, strict=True):
            alike(one, other, 1e-4)

    def test_wide_convolutions_of_bfloat16_are_the_same_as_products(monkeypatch):
        def gradients(model, images, upstream):
            def total(images, kernel):
                return (model.stateless_call([kernel], [], images)[0].astype("float32") * upstream).sum()

            return jax.grad(total, (0, 1))(images, model.trainable_variables[0].value)

        product_gradients(monkeypatch, jax_layers, gradients)

    def test_wide_convolutions_of_bfloat16_and_their_gradients_are_products(monkeypatch):
        def convolves(channels, amx):
            monkeypatch.setattr(jax_layers, "amx", lambda: amx)
            image = keras.Input((8, 8, channels), dtype="bfloat16")
            convolved = layers.Conv2D(6, 3, padding="same", use_bias=False, dtype="bfloat16")(image)
            model = use_fast_layers(keras.Model(image, convolved))

            def total(kernel, images):
                return model.stateless_call([kernel], [], images)[0].sum()

            kernel, images = model.trainable_variables[0].value, np.zeros((2, 8, 8, channels), "float32")
            return "conv_general_dilated" in str(jax.make_jaxpr(jax.grad(total, (0, 1)))(kernel, images))

        monkeypatch.setattr(jax_layers, "MANY_CHANNELS", 16)
        assert not convolves(16, True) and convolves(16, False) and convolves(15, True)

    @pytest.mark.parametrize("kernel", [1, 3])
    def test_a_convolution_in_bfloat16_has_second_derivatives_of_keras(monkeypatch, kernel):
        """The product of a Hessian and a vector, as the derivative of a gradient."""
        for name, value in {"amx": lambda: True, "MANY_CHANNELS": 16}.items():
            monkeypatch.setattr(jax_layers, name, value)
        branches = convolutions([(kernel, 1, "same")], use_bias=False, dtype="bfloat16")
        plain, fast = twins(branches, (4, 3, 16))
        images, along = (RNG.normal(size=(2, 4, 3, 16)).astype("bfloat16") for _ in range(2))
        found, expected = (
            jax.jvp(jax.grad(lambda images, model=model: (model(images) ** 3).sum()), (images,), (along,))[1]
            for model in (fast, plain)
        )
        alike(found, expected, 0.03)

    def test_a_network_is_exported_for_images_of_any_size():
        """In such a program of JAX, the sizes are symbols, which cannot be compared."""
        image = keras.Input((None, None, 3))
        x = layers.Conv2D(4, 3, 2)(layers.ZeroPadding2D(1)(layers.Conv2D(4, 3, padding="same")(image)))
        model = use_fast_layers(keras.Model(image, layers.MaxPooling2D(3, 2)(x)))
        state = [[variable.value for variable in model.trainable_variables], []]
        shape = jax.export.symbolic_shape("b,h,w,3", constraints=["h>=16", "w>=16"])
        function = jax.jit(lambda images: model.stateless_call(*state, images)[0])
        exported = jax.export.export(function)(jax.ShapeDtypeStruct(shape, "float32"))
        images = RNG.normal(size=(2, 18, 17, 3)).astype("float32")
        alike(exported.call(images), model(images), 1e-5)

    def test_an_empty_batch_has_an_empty_output():
        """On TensorFlow, Keras's own convolutions fail for an empty batch."""
        model = ResNet((1, 1, 1), (4, 8, 16), unit="bottleneck", input_shape=(16, 16, 3), classes=3)
        assert model(np.zeros((0, 16, 16, 3), "float32")).shape == (0, 3)

    def test_the_gradient_of_an_empty_batch_is_zero_also_without_avx512(monkeypatch):
        monkeypatch.setattr(jax_layers, "avx512", lambda: False)
        image = keras.Input((7, 6, 16))
        model = use_fast_layers(keras.Model(image, layers.Conv2D(3, 3, padding="same", use_bias=False)(image)))

        def total(kernel):
            return model.stateless_call([kernel], [], np.zeros((0, 7, 6, 16), "float32"))[0].sum()

        assert not jax.grad(total)(model.trainable_variables[0].value).any()

    @pytest.mark.parametrize("order", ["original", "full_preactivation"])
    def test_a_unit_is_not_computed_again_by_later_units(order):
        """XLA fuses what it computes together; no fusion may have more operands in a stage with more units."""

        def operands(units):
            model = ResNet([units], [16], order=order, stem="cifar", input_shape=(8, 8, 3), classes=3)
            kinds = model.trainable_variables, model.non_trainable_variables
            state = [[variable.value for variable in kind] for kind in kinds]

            def loss(learned, others, images):
                return keras.ops.sum(model.stateless_call(learned, others, images, training=True)[0] ** 2)

            compiled = jax.jit(jax.grad(loss)).lower(*state, np.zeros((4, 8, 8, 3), "float32")).compile().as_text()
            return max(line.partition("fusion(")[2].partition(")")[0].count("%") for line in compiled.splitlines())

        assert 3 <= operands(9) <= operands(3) + 1


if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def test_the_gradient_of_a_kernel_in_bfloat16_is_the_same_as_a_product(monkeypatch):
        def gradients(model, images, upstream):
            with tf.GradientTape() as tape:
                x = tf.constant(images)
                tape.watch(x)
                total = tf.reduce_sum(tf.cast(model(x), tf.float32) * upstream)
            return tape.gradient(total, [x, *model.trainable_variables])

        product_gradients(monkeypatch, onednn, gradients)

    @pytest.mark.parametrize(
        ("kernel", "dtype", "tolerance"), [(1, "float32", 1e-4), (3, "float32", 1e-4), (3, "bfloat16", 0.03)]
    )
    def test_a_convolution_has_second_derivatives_of_keras(monkeypatch, kernel, dtype, tolerance):
        for name, value in {"amx": lambda: True, "MANY_CHANNELS": 16}.items():
            monkeypatch.setattr(onednn, name, value)
        plain, fast = twins(lambda dtype: [layers.Conv2D(6, kernel, use_bias=False, dtype=dtype)], (7, 6, 16), dtype)
        images = tf.constant(RNG.normal(size=(2, 7, 6, 16)).astype("float32"))
        found, expected = [], []
        for model, derivatives in ((fast, found), (plain, expected)):
            with tf.GradientTape() as second:
                second.watch(images)
                with tf.GradientTape() as first:
                    first.watch(images)
                    cubes = tf.reduce_sum(model(images) ** 3)
                gradients = first.gradient(cubes, [images, *model.trainable_variables])
                slope = sum(tf.reduce_sum(tf.cast(gradient, tf.float32) ** 2) for gradient in gradients)
            derivatives += [*gradients, *second.gradient(slope, [images, *model.trainable_variables])]
        for one, other in zip(found, expected, strict=True):
            alike(one, other, tolerance)

    def test_kernels_with_slow_gradients_have_none_by_convolution(monkeypatch):
        def operations():
            image = keras.Input((8, 8, 16), dtype="bfloat16")
            convolved = layers.Conv2D(6, 3, padding="same", use_bias=False, dtype="bfloat16")(image)
            model = use_fast_layers(keras.Model(image, convolved))

            def gradient(images):
                return tf.gradients(model(images), model.trainable_variables[0].value)

            graph = tf.function(gradient).get_concrete_function(tf.TensorSpec((2, 8, 8, 16), tf.bfloat16)).graph
            return {each.type for each in graph.get_operations()}

        monkeypatch.setattr(onednn, "MANY_CHANNELS", 16)
        monkeypatch.setattr(onednn, "amx", lambda: False)
        assert "Conv2DBackpropFilter" in operations()
        monkeypatch.setattr(onednn, "amx", lambda: True)
        assert "Conv2DBackpropFilter" not in operations()


if keras.backend.backend() == "torch":
    import torch
    from torch.nn import functional

    from keras_resnet.backend import torch_convolution

    def test_a_convolution_learns_the_same_as_a_matrix_product(monkeypatch):
        chosen = itertools.product((1, 2, 3, (3, 1)), (1, 2, (1, 2)), ("same", "valid"))
        models = twins(convolutions(chosen, activation="relu"), (9, 8, 16))
        for name, limit in {"TINY": 72, "WIDE": 16, "LARGE": 16}.items():
            monkeypatch.setattr(torch_convolution, name, limit)
        without_convolution = SimpleNamespace(pad=functional.pad, linear=functional.linear)
        monkeypatch.setattr(torch_convolution, "functional", without_convolution)
        trained_alike(models, RNG.normal(size=(2, 9, 8, 16)).astype("float32"))

    def test_the_gradient_of_a_kernel_in_bfloat16_is_the_same_as_a_product(monkeypatch):
        def gradients(model, images, upstream):
            x, kernel = torch.tensor(images, requires_grad=True), model.trainable_variables[0].value
            (model(x).float() * torch.tensor(upstream)).sum().backward()
            return x.grad, kernel.grad

        product_gradients(monkeypatch, onednn, gradients)

    @pytest.mark.parametrize(("strides", "padding"), [((1, 1), (1, 1)), ((2, 1), (0, 1))])
    def test_a_convolution_whose_gradient_is_a_product_has_all_derivatives(strides, padding):
        """Compared with differences between outputs: first and second, forward, and of several gradients at once."""
        numbers = np.random.default_rng(0)
        x, kernel = (torch.tensor(numbers.normal(size=size)) for size in ((2, 2, 5, 4), (3, 2, 3, 2)))
        inputs = x.requires_grad_(), kernel.requires_grad_(), strides, padding
        convolve = torch_convolution.ConvolutionWithProduct.apply
        assert torch.autograd.gradcheck(convolve, inputs, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(convolve, inputs)

    def test_kernels_with_slow_gradients_have_none_by_convolution(monkeypatch):
        def has_product(channels):
            image = keras.Input((8, 8, channels), dtype="bfloat16")
            convolved = layers.Conv2D(6, 3, padding="same", use_bias=False, dtype="bfloat16")(image)
            output = use_fast_layers(keras.Model(image, convolved))(np.zeros((2, 8, 8, channels), "float32"))
            steps = [output.grad_fn]
            while steps[-1].next_functions and steps[-1].next_functions[0][0]:
                steps.append(steps[-1].next_functions[0][0])
            return any("WithProduct" in step.name() for step in steps)

        monkeypatch.setattr(onednn, "amx", lambda: True)
        monkeypatch.setattr(onednn, "MANY_CHANNELS", 16)
        assert has_product(16) and not has_product(15)

    @pytest.mark.parametrize("choices", [{"groups": 2}, {"dilation_rate": 2}, {"dilation_rate": (1, 3)}])
    def test_no_other_convolution_is_made_a_matrix_product(monkeypatch, choices):
        models = twins(convolutions([(3, 1, "same")], **choices), (9, 8, 16))
        monkeypatch.setattr(torch_convolution, "TINY", 72)
        monkeypatch.setattr(torch_convolution, "WIDE", 2)
        trained_alike(models, RNG.normal(size=(2, 9, 8, 16)).astype("float32"))

    def test_a_single_filter_learns_from_a_single_image():
        """Keras's own cannot: Torch's slow convolution refuses a kernel with the strides of no memory layout."""
        image = keras.Input((5, 5, 3))
        filtered = layers.Conv2D(1, 3, use_bias=False, kernel_initializer="zeros")(image)
        model = use_fast_layers(keras.Model(image, filtered))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        images, targets = (RNG.normal(size=(1, *shape)).astype("float32") for shape in ((5, 5, 3), (3, 3, 1)))
        model.train_on_batch(images, targets)
        windows = np.lib.stride_tricks.sliding_window_view(images[0], (3, 3), (0, 1))
        alike(model.weights[0], 0.2 / 9 * np.einsum("xychw,xyf->hwcf", windows, targets[0]))
