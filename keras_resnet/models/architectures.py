"""What a named network is: a row of data that can be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Protocol

from .spec import Spec

if TYPE_CHECKING:
    import keras


V2 = {"order": "full_preactivation"}
PLAIN = {"shortcut": None}


class Architecture(Protocol):
    """A named network. Calling it builds the model; its attributes say, without Keras, what will be built."""

    __name__: str
    classes: int
    spec: Spec
    respec: Callable[..., Spec]
    published: dict[str, str]

    def __call__(
        self,
        include_top: bool = True,
        weights: Any = None,
        input_tensor: Any = None,
        input_shape: Any = None,
        pooling: str | None = None,
        classes: int = ...,
        classifier_activation: Any = "softmax",
        name: str = ...,
        **choices: Any,
    ) -> keras.Model: ...


_DOC = """{name}: {summary}

The arguments up to `name` are those of keras.applications, in its order. Three differences: `weights` defaults to
None; with weights whose normalisation is known, the network begins with it and takes raw RGB images of 0 to 255
(`include_preprocessing`); and layers have other names, such as "stage3_unit6_conv2".

Args:
    include_top: end in average pooling and a dense layer; otherwise in the last map, see `pooling`.
    weights: None for a random start, "imagenet", "hf://OWNER/NAME" on the Hugging Face hub, or the path of a file of
        weights or of a model.
    input_tensor: a Keras tensor to build on, instead of a new input.
    input_shape: (height, width, channels), or (channels, height, width) with "channels_first"; height and width may be
        None and must be at least {smallest}.
    pooling: without the top: None for the 4-D map, "avg" or "max" for a vector an image.
    classes: number of classes. Where the weights are for another number, the dense layer starts anew.
    classifier_activation: the activation on the logits; None to end in the logits.
    name: the model's name.
    **choices: what `keras_resnet.ResNet` takes beyond these: `include_preprocessing`, `data_format`, `dtype`, and every
        field of `keras_resnet.Spec`, such as `shortcut="{shortcut}"`, `order="{order}"`, `stride_on="{stride_on}"`,
        which are this network's.

Returns:
    A functional `keras.Model`; its output is (batch, {classes}) unless told otherwise.

Raises:
    ValueError: as `keras_resnet.ResNet` does.
"""


def architecture(
    name: str,
    spec: Spec,
    classes: int,
    summary: str,
    published: dict[str, str],
    respec: Callable[..., Spec] | None = None,
) -> Architecture:
    """Makes the builder of a named network.

    Args:
        name: as a user imports it, "ResNet50".
        spec: the network.
        classes: how many classes it has unless told otherwise.
        summary: what it is and which paper it is from, for the docstring.
        published: what its paper prints of it: "parameters" or "macs" (the paper's FLOPs), as printed.
        respec: the network's spec under other choices, where that is more than replacing fields.
    """
    respec = respec or (lambda **choices: replace(spec, **choices))
    default_classes = classes
    of_spec = {field.name for field in fields(Spec)}

    def build(
        include_top: bool = True,
        weights: Any = None,
        input_tensor: Any = None,
        input_shape: Any = None,
        pooling: str | None = None,
        classes: int = classes,
        classifier_activation: Any = "softmax",
        name: str = name.lower(),
        **choices: Any,
    ) -> keras.Model:
        from .builder import assemble  # imports Keras

        chosen = {choice: choices.pop(choice) for choice in list(choices) if choice in of_spec}
        return assemble(
            respec,
            chosen,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            name=name,
            default_classes=default_classes,
            **choices,
        )

    build.__name__ = build.__qualname__ = name
    build.__module__ = __package__.partition(".")[0]  # where a user finds it, and pickle
    build.__doc__ = _DOC.format(
        name=name,
        summary=summary,
        smallest=spec.total_stride,
        shortcut=spec.shortcut,
        order=spec.order,
        stride_on=spec.stride_on,
        classes=classes,
    )
    build.spec, build.classes, build.respec, build.published = spec, classes, respec, published
    return build
