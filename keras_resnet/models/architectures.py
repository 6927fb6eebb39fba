"""Named networks, such as `ResNet50`: each a builder function with its `Spec` attached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, Unpack, cast

from .spec import NetworkChoices, Spec

if TYPE_CHECKING:
    import keras

    from .builder import Weights


V2: dict[str, Any] = {"order": "full_preactivation"}
PLAIN: dict[str, Any] = {"shortcut": None}


class Architecture(Protocol):
    """A named network. Calling it builds the model; its attributes describe it without importing Keras.

    Attributes:
        classes: the default number of classes.
        spec: the network's choices.
        respec: returns the spec with other choices, given as keyword arguments.
        published: what the paper prints of the network: "parameters", "macs", both or neither.
    """

    __name__: str
    classes: int
    spec: Spec
    respec: Callable[..., Spec]
    published: dict[str, str]

    def __call__(
        self,
        include_top: bool = True,
        weights: Weights = None,
        input_tensor: keras.KerasTensor | None = None,
        input_shape: Sequence[int | None] | None = None,
        pooling: str | None = None,
        classes: int = ...,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        name: str = ...,
        *,
        include_preprocessing: bool = True,
        data_format: str | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **choices: Unpack[NetworkChoices],
    ) -> keras.Model: ...


_DOC = """{name}: {summary}

The arguments up to `name` are those of keras.applications, in its order. There are three differences: `weights`
defaults to None; with pretrained weights, the network begins with their normalisation if it is known, and takes raw RGB
images of 0 to 255 (`include_preprocessing`); and layers have other names, such as "stage3_unit6_conv2".

Args:
    include_top: whether the network ends in global average pooling and a dense layer. If False, it ends in the last
        feature map; see `pooling`.
    weights: None for random initialisation, "imagenet", "hf://OWNER/NAME" for a repository on the Hugging Face hub, or
        the path of a file of weights or of a model; `keras_resnet.weights.read` lists the formats.
    input_tensor: a Keras tensor to use as the input, instead of a new `keras.Input`.
    input_shape: (height, width, channels), or (channels, height, width) with "channels_first". Height and width may be
        None for any size; otherwise they must be at least {smallest}.
    pooling: the output without the top: None for the 4-D feature map, "avg" or "max" for its global average or maximum,
        one vector per image.
    classes: number of classes. If the weights are for another number, the dense layer is initialised at random.
    classifier_activation: activation applied to the logits; None to return the logits.
    name: name of the model.
    include_preprocessing, data_format, dtype: as for `keras_resnet.ResNet`.
    **choices: fields of `keras_resnet.Spec`. This network's own are `shortcut={shortcut!r}`, `order={order!r}` and
        `stride_on={stride_on!r}`.

Returns:
    A functional `keras.Model`. Its output has the shape (batch, {classes}) by default.

Raises:
    ValueError: an argument is not valid or the weights do not fit; see `keras_resnet.ResNet`.

Example:
    >>> model = keras_resnet.{name}(classes=10, input_shape=(None, None, 3))
    >>> spec = keras_resnet.{name}.spec  # its choices, without building it
"""


def architecture(
    name: str,
    spec: Spec,
    classes: int,
    summary: str,
    published: dict[str, str],
    respec: Callable[..., Spec] | None = None,
) -> Architecture:
    """Returns the builder function of a named network.

    Args:
        name: the name by which it is imported, such as "ResNet50".
        spec: the network's choices.
        classes: the default number of classes.
        summary: description and source of the network, for the docstring.
        published: what the paper prints of the network: "parameters" or "macs" (the paper's FLOPs), as printed.
        respec: returns the spec with other choices, given as keyword arguments. None replaces the fields.
    """
    respec = respec or (lambda **choices: replace(spec, **choices))
    default_classes = classes

    def build(
        include_top: bool = True,
        weights: Weights = None,
        input_tensor: keras.KerasTensor | None = None,
        input_shape: Sequence[int | None] | None = None,
        pooling: str | None = None,
        classes: int = classes,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        name: str = name.lower(),
        *,
        include_preprocessing: bool = True,
        data_format: str | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        **choices: Unpack[NetworkChoices],
    ) -> keras.Model:
        from .builder import assemble  # imports Keras

        return assemble(
            respec,
            choices,
            default_classes=default_classes,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            name=name,
            include_preprocessing=include_preprocessing,
            data_format=data_format,
            dtype=dtype,
        )

    build.__name__ = build.__qualname__ = name
    build.__module__ = __package__.partition(".")[0]  # the public package, from which users and pickle import it
    build.__doc__ = _DOC.format(
        name=name,
        summary=summary,
        smallest=spec.total_stride,
        shortcut=spec.shortcut,
        order=spec.order,
        stride_on=spec.stride_on,
        classes=classes,
    )
    network = cast(Architecture, build)
    network.spec, network.classes, network.respec, network.published = spec, classes, respec, published
    return network
