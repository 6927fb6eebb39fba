"""What Torch itself does with a network, compilation and hooks, it does at each of its layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from comparing import alike, numpy
from keras_resnet.models.fast_layers import Add
from twins import images, networks_learn_alike, twin_networks

if keras.backend.backend() == "torch":
    import torch
    from torch.nn.modules import module

    from keras_resnet.backend import torch_convolution

    def test_keras_calls_the_layers_of_a_model_that_torch_compiles(monkeypatch):
        """Inductor fails for gradients of convolutions in calls that layers of several shapes share."""
        model, plain = twin_networks()
        x, called = images(model), []

        def spy(self, inputs):
            called.append(self.name)
            return layers.Add.call(self, inputs)

        monkeypatch.setattr(Add, "call", spy)
        model(x)
        assert not called
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        found = model(x)
        monkeypatch.undo()
        assert called == [layer.name for layer in plain.layers if isinstance(layer, layers.Add)]
        alike(found, plain(x), 1e-4)

    @pytest.fixture
    def products(monkeypatch):
        """All convolutions that may become matrix products do, whatever their size."""
        for name, limit in {"TINY": 10**6, "WIDE": 1, "LARGE": 1}.items():
            monkeypatch.setattr(torch_convolution, name, limit)

    @pytest.mark.parametrize("order", ["original", "full_preactivation"])
    def test_a_network_learns_the_same_by_matrix_products(products, order):
        networks_learn_alike(*twin_networks(order=order, unit="bottleneck"))

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*is deprecated:DeprecationWarning")
    def test_graphs_that_torch_makes_have_convolutions(products):
        model, _ = twin_networks(unit="bottleneck")
        kernels = sum(isinstance(each, layers.Conv2D) for each in model.layers)
        example = (torch.zeros(2, 16, 16, 3),)
        exported = torch.export.export(model, example).graph
        assert sum("conv2d" in str(node.target) for node in exported.nodes) == kernels
        traced = torch.jit.trace(model, example)
        assert str(traced.inlined_graph).count("aten::_convolution(") == kernels
        x = images(model, 3)  # another number than in the example
        alike(traced(torch.tensor(x)), model(x))

    HOOKED = [f"stage2_unit1_{part}" for part in ("conv1_pad", "conv1", "bn1", "relu1", "conv2", "bn2", "add")]

    @pytest.mark.parametrize("name", HOOKED)
    def test_hooks_of_torch_see_the_inputs_and_outputs_of_a_keras_layer(name):
        """Once per call, until they are removed; tensors that they keep are never overwritten."""
        model, plain = twin_networks()
        x = images(model)
        before, kept, hooks = numpy(model(x)), {model: [], plain: []}, []
        for each, seen in kept.items():
            layer = each.get_layer(name)
            hooks.append(layer.register_forward_pre_hook(lambda _, taken, seen=seen: seen.extend(taken)))
            hooks.append(layer.register_forward_hook(lambda *call, seen=seen: seen.append(call[-1])))
        for each in kept:
            alike(each(x), before)
        assert len(kept[model]) == len(kept[plain]) == 2
        for found, expected in zip(*(keras.tree.flatten(seen) for seen in kept.values()), strict=True):
            alike(found.detach(), expected.detach())
        for hook in hooks:
            hook.remove()
        np.testing.assert_array_equal(numpy(model(x)), before)
        assert len(kept[model]) == 2

    @pytest.mark.parametrize("name", HOOKED)
    def test_hooks_of_torch_replace_the_inputs_and_outputs_of_a_layer(name):
        model, plain = twin_networks()
        x = images(model)
        before, given = numpy(model(x)), []

        def change(_, taken):
            return keras.tree.map_structure(lambda one: 1.5 * one - 0.1, taken)

        for each in (model, plain):
            layer = each.get_layer(name)
            layer.register_forward_pre_hook(change)
            layer.register_forward_hook(lambda *call: given.append(-0.5 * call[-1]) or given[-1])
        found, expected = model(x), plain(x)
        alike(found, expected)
        assert np.abs(numpy(found) - before).max() > 1e-2 * np.abs(before).max()
        alike(given[0].detach(), given[1].detach())

    @pytest.mark.parametrize("name", HOOKED[:-1])  # for a layer with several inputs, Torch tracks only the output
    def test_hooks_of_torch_see_gradients(name):
        model, plain = twin_networks()
        x, seen = images(model), []
        for each in (model, plain):
            layer = each.get_layer(name)
            layer.register_full_backward_pre_hook(lambda _, of_given: seen.extend(of_given))
            layer.register_full_backward_hook(lambda _, of_taken, of_given: seen.extend(of_taken))
            each(x).square().sum().backward()
        assert len(seen) == 4
        for found, expected in zip(seen[:2], seen[2:], strict=True):
            alike(found, expected, 1e-3)

    def test_hooks_of_torch_for_every_module_fire_at_every_layer():
        model, _ = twin_networks()
        x, seen = images(model), []
        hook = module.register_module_forward_hook(lambda layer, *_: seen.append(layer))
        try:
            model(x)
        finally:
            hook.remove()
        assert [*map(id, seen)].count(id(model.get_layer("stage1_unit1_conv1"))) == 1
        assert {id(layer) for layer in model.layers[1:]} <= set(map(id, seen))

    def test_gradients_of_an_inference_are_computed_after_a_later_call_in_training():
        """Which moves the averages that normalised it, as in losses of one network's outputs in both modes."""
        model, plain = twin_networks()
        x = images(model)
        for each in (model, plain):
            inferred = each(x, training=False)
            (inferred - each(x, training=True)).square().sum().backward()
        for found, expected in zip(model.trainable_variables, plain.trainable_variables, strict=True):
            alike(found.value.grad, expected.value.grad, 1e-3, found.path)
