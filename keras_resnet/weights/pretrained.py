"""`Pretrained`: weights under this package's layer names, with the metadata that is needed to use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from ..models.architectures import PLAIN, V2
from ..models.graph import last_operation
from ..models.spec import Spec

HEAD = "logits/"  # prefix of the names of the dense layer's tensors
TRAINING_ONLY = ("bn_momentum", "zero_init_residual", "stochastic_depth", "skip_dropout")


@dataclass(frozen=True)
class Pretrained:
    """The weights of a network, from any source.

    Attributes:
        source: the source, as messages name it.
        tensors: the weights by layer and variable, such as "stage1_unit1_conv1/kernel", in Keras's layout.
        layout: fields of `Spec` that the network must have and that the tensors do not show, such as
            `{"stride_on": "3x3"}`.
        mean, deviation: mean and standard deviation of the training images, for raw values of 0 to 255: one per
            channel, in the order RGB, or in the shape of an image; None if they are not known.
        reversed_channels: whether the first convolution takes BGR.
        view: how the network was tested: "size", the side of the centre crop, and "resize", the shorter side of the
            image before the crop, both in pixels; empty if that is not known.
        sides: height and width of the images that the model in the source takes, each None for any; None if the source
            does not say.
        class_names: the name of each class.
        class_ids: an identifier of each class, such as ImageNet's "n01440764".
        other_head: how the head computes something else than this package's, such as "ends in 'sigmoid'"; "" if it does
            not.
        name_in_source: returns the name of a tensor in the source.
    """

    source: str
    tensors: Mapping[str, np.ndarray]
    layout: Mapping[str, Any] = field(default_factory=dict)
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    reversed_channels: bool = False
    view: Mapping[str, int] = field(default_factory=dict)
    sides: tuple[int | None, int | None] | None = None
    class_names: tuple[str, ...] | None = None
    class_ids: tuple[str, ...] | None = None
    other_head: str = ""
    name_in_source: Callable[[str], str] = str

    @property
    def classes(self) -> int | None:
        """Number of classes; None if there is no dense layer."""
        kernel = self.tensors.get(f"{HEAD}kernel")
        return None if kernel is None else kernel.shape[-1]

    def image_shape(self, size: int | None) -> tuple[int | None, ...]:
        """Returns the images' (height, width, channels): those of a per-pixel mean, else with the given size."""
        if self.mean is not None and self.mean.ndim == 3:
            return self.mean.shape
        kernel = self.tensors.get("stem_conv/kernel")
        return size, size, 3 if kernel is None else kernel.shape[2]

    def with_mean(self, mean: np.ndarray) -> Pretrained:
        """Returns the same weights for images of another mean; a deviation per pixel of another shape is averaged."""
        deviation = self.deviation
        if deviation is not None and deviation.ndim == 3 and deviation.shape != mean.shape:
            deviation = deviation.mean(axis=(0, 1))
        return replace(self, mean=mean, deviation=deviation)

    def for_rgb(self) -> Pretrained:
        """Returns the same weights for images in RGB."""
        if not self.reversed_channels:
            return self
        first = "stem_conv/kernel"
        tensors = {**self.tensors, first: np.ascontiguousarray(self.tensors[first][:, :, ::-1])}
        return replace(self, tensors=tensors, reversed_channels=False)

    def spec_for(self, respec: Callable[..., Spec], chosen: Mapping[str, Any]) -> Spec:
        """Returns the spec of a network that fits these weights: they determine what the user did not choose.

        They do not override what the name of the network implies: whether its units are those of He et al. 2016 ("V2"),
        and whether it has shortcuts.

        Args:
            respec: returns the spec of the requested network with other choices, given as keyword arguments.
            chosen: the fields that the user chose.

        Raises:
            ValueError: a choice differs from that of the weights; the message names it.
        """
        requested = respec(**chosen)
        for name, implied in {**V2, **PLAIN}.items():
            if name in self.layout and (getattr(requested, name) == implied) != (self.layout[name] == implied):
                raise self._mismatch(name, requested)
        spec = respec(**{**self.layout, **chosen})
        self.check(spec)
        return spec

    def check(self, spec: Spec) -> None:
        """Checks that a network computes what the weights were trained for.

        Raises:
            ValueError: a choice that the tensors do not show differs; the message names it.
        """
        for name, value in self.layout.items():
            if name not in TRAINING_ONLY and getattr(spec, name) != value:
                raise self._mismatch(name, spec)

    def _mismatch(self, name: str, spec: Spec) -> ValueError:
        return ValueError(
            f"The weights of {self.source} are for `{name}={self.layout[name]!r}`. "
            f"Received: {name}={getattr(spec, name)!r}"
        )

    def assign_to(self, model: keras.Model, *, head: bool = True) -> int:
        """Assigns the weights to all layers of a network, except its normalisation of the images.

        Args:
            model: a network of this package.
            head: whether to assign the weights of the dense layer. If False, the dense layer keeps its values.

        Returns:
            The number of tensors assigned, which is that of the network's variables.

        Raises:
            ValueError: the weights or the network lack a tensor, shapes differ, or a tensor holds values that no
                network can compute with; the message names the tensors. The network is then unchanged.
        """
        variables, tensors = variables_of(model), dict(self.tensors)
        if not head:
            variables, tensors = _without_head(variables), _without_head(tensors)
        if missing := [self._both_names(name) for name in variables if name not in tensors]:
            raise ValueError(f"{self.source} does not fit {model.name!r}: it lacks {_some(missing)}.")
        if surplus := [self._both_names(name) for name in tensors if name not in variables]:
            raise ValueError(f"{self.source} does not fit {model.name!r}, which has no {_some(surplus)}.")
        if head and self.other_head:
            raise ValueError(
                f"{self.source} {self.other_head}, while {model.name!r} averages its last feature map and ends in a "
                "softmax or in logits. Build it with another number of classes or without the top."
            )
        for name, variable in variables.items():
            if (given := tensors[name].shape) != (expected := tuple(variable.shape)):
                raise ValueError(
                    f"{self.source} does not fit {model.name!r}: {self._both_names(name)} has the shape {given} in the "
                    f"source and {expected} in the network."
                )
            if fault := _fault(name, tensors[name], model):
                raise ValueError(f"{self.source} is not usable: {self._both_names(name)} {fault}.")
        for name, variable in variables.items():
            variable.assign(tensors[name])
        return len(variables)

    def _both_names(self, name: str) -> str:
        """Returns the name of a tensor and, if it differs, that in the source."""
        source_name = self.name_in_source(name)
        return name if source_name == name else f"{name} ({source_name})"


def _fault(name: str, values: np.ndarray, model: keras.Model) -> str:
    """Returns why a network cannot compute with the values of a tensor, such as "has values that ...", or ""."""
    if not keras.backend.is_float_dtype(values.dtype.name):
        return f"has the type {values.dtype.name}, and not floating-point numbers"
    if not np.isfinite(values).all():
        return "has values that are not finite"
    layer, variable = name.split("/")
    if variable == "moving_variance" and values.min() + model.get_layer(layer).epsilon <= 0:
        return "has negative variances"
    return ""


def other_activation(model: keras.Model) -> str:
    """Returns `Pretrained.other_head` for a model whose outputs are neither logits nor a softmax of them."""
    activation = getattr(last_operation(model), "activation", None)
    usual = None, keras.activations.linear, keras.activations.softmax, keras.activations.log_softmax
    return "" if activation in usual else f"ends in {keras.activations.serialize(activation)!r}"


def raw_statistic(name: str, values: Any, origin: str = "") -> np.ndarray:
    """Converts a mean or a deviation of images from 0 to 1 to that of images from 0 to 255.

    Args:
        name: "mean" or "deviation".
        values: one number per channel, for images from 0 to 1, as is usual in PyTorch.
        origin: where the values come from, for the message; empty for an argument.

    Returns:
        255 times the values, in float64.

    Raises:
        ValueError: the values are anything else, such as those for images from 0 to 255.
    """
    try:
        statistic = np.asarray(values, "float64")
    except (TypeError, ValueError):
        statistic = np.array(np.nan)
    above_minimum = statistic > 0 if name == "deviation" else statistic >= 0
    if not (statistic.ndim == 1 and statistic.size and np.all(above_minimum & (statistic <= 1))):
        bounds = "above 0 and up to 1" if name == "deviation" else "from 0 to 1"
        raise ValueError(
            f"`{name}`{origin and f' in {origin}'} must be one number per channel, {bounds}, for pixels from 0 to 1: "
            f"divide values for pixels from 0 to 255 by 255. Received: {values!r}"
        )
    return 255 * statistic


def _without_head(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in named.items() if not name.startswith(HEAD)}


def variables_of(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns a network's variables by layer and name, except those of the normalisation of the images."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        if not isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
    }


def tensors_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the values of `variables_of` as arrays."""
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in variables_of(model).items()}


def _some(names: Sequence[str]) -> str:
    """Lists the first three names and the number of the others."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
