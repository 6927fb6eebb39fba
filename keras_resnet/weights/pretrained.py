"""`Pretrained`: weights in this package's layout, with all that must be known to use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from ..models.architectures import PLAIN, V2
from ..models.spec import Spec

HEAD = "logits/"  # what the names of the dense layer's tensors begin with
TRAINING_ONLY = ("bn_momentum", "zero_init_residual", "stochastic_depth", "skip_dropout")


@dataclass(frozen=True)
class Pretrained:
    """A network's weights, from wherever they came.

    Attributes:
        source: where from, as messages name it.
        tensors: each by its layer and variable, "stage1_unit1_conv1/kernel", in Keras's layout.
        layout: the choices of `Spec` that the network must have and that do not show in the tensors, such as
            `{"stride_on": "3x3"}`.
        mean, deviation: of the training images, of raw values 0 to 255: one a channel, or of an image's shape; None
            where they are not known. The channels are in the order RGB.
        reversed_channels: the first convolution takes BGR.
        view: "size" and "resize": the centre square that the network was tested on, and the shorter side before the
            cut; empty where that is not known.
        class_names: a name a class.
        class_ids: an identifier a class, such as ImageNet's "n01440764".
        named_there: what the source calls a tensor.
    """

    source: str
    tensors: Mapping[str, np.ndarray]
    layout: Mapping[str, Any] = field(default_factory=dict)
    mean: np.ndarray | None = None
    deviation: np.ndarray | None = None
    reversed_channels: bool = False
    view: Mapping[str, int] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    class_ids: tuple[str, ...] | None = None
    named_there: Callable[[str], str] = str

    @property
    def classes(self) -> int | None:
        """The number of classes; None without a dense layer."""
        kernel = self.tensors.get(f"{HEAD}kernel")
        return None if kernel is None else kernel.shape[-1]

    @property
    def normalised(self) -> bool:
        """Whether it is known how images were normalised."""
        return self.mean is not None

    def image_shape(self, size: int | None) -> tuple[int | None, ...]:
        """(height, width, channels) of the images that they take: those of a mean by pixel, else of this size."""
        if np.ndim(self.mean) == 3:
            return np.shape(self.mean)
        kernel = self.tensors.get("stem_conv/kernel")
        return size, size, 3 if kernel is None else kernel.shape[2]

    def for_rgb(self) -> Pretrained:
        """The same weights for a first convolution that takes RGB."""
        if not self.reversed_channels:
            return self
        first = "stem_conv/kernel"
        tensors = {**self.tensors, first: np.ascontiguousarray(self.tensors[first][:, :, ::-1])}
        return replace(self, tensors=tensors, reversed_channels=False)

    def spec_for(self, respec: Callable[..., Spec], chosen: Mapping[str, Any]) -> Spec:
        """The network that takes these weights: what its user did not choose of it is as they need it.

        What the name of a network says they do not change: whether its units are those of 2016 ("V2"), and whether it
        has shortcuts.

        Args:
            respec: from choices to the spec of the network that was asked for.
            chosen: what its user chose of it.

        Raises:
            ValueError: a choice that is another one than that of the weights; the message names it.
        """
        asked = respec(**chosen)
        for name, said in {**V2, **PLAIN}.items():
            if name in self.layout and (getattr(asked, name) == said) != (self.layout[name] == said):
                raise self._refused(name, asked)
        spec = respec(**{**self.layout, **chosen})
        self.check(spec)
        return spec

    def check(self, spec: Spec) -> None:
        """Makes sure that a network computes what the weights were trained for.

        Raises:
            ValueError: a choice that the tensors do not show is another one; the message names it.
        """
        for name, value in self.layout.items():
            if name not in TRAINING_ONLY and getattr(spec, name) != value:
                raise self._refused(name, spec)

    def _refused(self, name: str, spec: Spec) -> ValueError:
        return ValueError(
            f"The weights of {self.source} are for `{name}={self.layout[name]!r}`. "
            f"Received: {name}={getattr(spec, name)!r}"
        )

    def give_to(self, model: keras.Model, *, head: bool = True) -> int:
        """Sets the weights of every layer that has any, but for normalisation.

        Args:
            model: a network of this package.
            head: whether the dense layer's are among them; otherwise that stays as it is, if the network has one.

        Returns:
            The number of tensors that were set: all.

        Raises:
            ValueError: a tensor that only one of the two has, or that has another shape; the message names it. The
                network is left as it was.
        """
        own, tensors = (
            {name: value for name, value in found.items() if head or not name.startswith(HEAD)}
            for found in (variables_of(model), self.tensors)
        )
        if missing := [self._both(name) for name in own if name not in tensors]:
            raise ValueError(f"{self.source} does not fit {model.name!r}: it lacks {_some(missing)}.")
        if surplus := [self._both(name) for name in tensors if name not in own]:
            raise ValueError(f"{self.source} does not fit {model.name!r}, which has no {_some(surplus)}.")
        for name, variable in own.items():
            if (given := tensors[name].shape) != (wanted := tuple(variable.shape)):
                raise ValueError(
                    f"{self.source} does not fit {model.name!r}: {self._both(name)} is {given} there and {wanted} here."
                )
        for name, variable in own.items():
            variable.assign(tensors[name])
        return len(own)

    def _both(self, name: str) -> str:
        """What a tensor is called here and, where that is something else, there."""
        there = self.named_there(name)
        return name if there == name else f"{name} ({there})"


def raw_statistic(name: str, values: Any, told_by: str = "") -> np.ndarray:
    """A mean or a deviation of images from 0 to 1, as one of images from 0 to 255.

    Args:
        name: "mean" or "deviation".
        values: a number a channel, of images from 0 to 1 as in PyTorch's world.
        told_by: where they stand, as the message names it; empty for an argument.

    Returns:
        float64, 255 times these.

    Raises:
        ValueError: anything else, such as values of the scale from 0 to 255.
    """
    try:
        found = np.asarray(values, "float64")
    except (TypeError, ValueError):
        found = np.array(np.nan)
    lowest = found > 0 if name == "deviation" else found >= 0
    if not (found.ndim == 1 and found.size and np.all(lowest & (found <= 1))):
        bounds = "above 0 and up to 1" if name == "deviation" else "from 0 to 1"
        raise ValueError(
            f"`{name}`{told_by and f' in {told_by}'} must be a number a channel, {bounds}: of images whose pixels go "
            f"from 0 to 1, so that values for 0 to 255 are divided by 255. Received: {values!r}"
        )
    return 255 * found


def variables_of(model: keras.Model) -> dict[str, keras.Variable]:
    """A network's variables by layer and name, without those of normalisation."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in model.layers
        if not isinstance(layer, keras.layers.Normalization)
        for variable in layer.weights
    }


def tensors_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Their values."""
    return {name: keras.ops.convert_to_numpy(variable) for name, variable in variables_of(model).items()}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
