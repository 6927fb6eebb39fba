"""The images that a recipe selects, and what recipe, data, devices and settings must satisfy together."""

from __future__ import annotations

import keras

from ..backend.devices import Devices
from ..data import LabelledImages
from .machine import Machine
from .recipe import Recipe


def selected(recipe: Recipe, data: LabelledImages) -> LabelledImages:
    """Returns the images of a data set that a recipe selects.

    Raises:
        ValueError: the data set has too few training images, or a single class, on which nothing can be learned.
    """
    if data.classes < 2:
        raise ValueError(
            f"`dataset` must have at least two classes. Received: {recipe.dataset}, whose only class is "
            f"{data.class_names[0]!r}"
        )
    if recipe.validation:
        if recipe.validation >= data.train_count:
            raise ValueError(
                f"`validation` must be below {data.train_count}, the number of training images of {recipe.dataset}. "
                f"Received: {recipe.validation}"
            )
        data = data.hold_out(recipe.validation, seed=recipe.seed)
    if recipe.images is not None:
        if recipe.images > data.train_count:
            which = f"{recipe.dataset}{' that are not held out' if recipe.validation else ''}"
            raise ValueError(
                f"`images` must be at most {data.train_count}, the number of training images of {which}. "
                f"Received: {recipe.images}"
            )
        data = data.take(recipe.images)
    return data


def check(recipe: Recipe, data: LabelledImages, devices: Devices, machine: Machine) -> None:
    """Checks that the recipe, the data, the devices and the machine's settings work together.

    Raises:
        ValueError: they do not.
    """
    if (floatx := keras.config.floatx()) in ("float16", "bfloat16"):  # in which Keras would sum losses and errors
        raise ValueError(
            f"`floatx` of Keras must be float32. Received: {floatx!r}, from ~/.keras/keras.json or set_floatx. "
            f"For a network in half precision, choose --precision mixed_{floatx}."
        )
    devices.check_batch(min(recipe.batch_size, data.train_count) // recipe.accumulate)
    if recipe.accumulate > 1 and recipe.batch_size > data.train_count:
        raise ValueError(
            f"`accumulate` needs at least one full batch of {recipe.batch_size} images. Received: {data.train_count}"
        )
    for name, refused in (
        ("loop_units", machine.loop_units and not devices.supports_loops),
        ("accumulate", recipe.accumulate > 1 and not devices.supports_accumulation),
    ):
        if refused:
            raise ValueError(
                f"`{name}` needs a single device on this backend. Received: {devices.replicas} devices. "
                "Choose --devices 1, or --backend jax."
            )
    for name, chosen in (
        ("steps_per_execution", machine.steps_per_execution > 1),
        ("images_on_device", machine.images_on_device),
    ):
        if chosen and devices.replicas > 1:
            raise ValueError(f"`{name}` needs a single device. Received: {devices.replicas}. Choose --devices 1.")
    if machine.images_on_device and not data.in_memory:
        raise ValueError(
            f"`images_on_device` needs a data set in memory. Received: {recipe.dataset}, which is read from files."
        )
    if machine.steps_per_execution > 1 and recipe.waits_for_error:
        raise ValueError(
            "`steps_per_execution` must be 1 if the learning rate depends on the training error, as in this recipe's "
            "warm-up. Choose --warmup-iterations 400 for a warm-up of fixed length, or --warmup-rate 0 for none."
        )
    if machine.steps_per_execution > 1 and recipe.schedule == "plateau" and (recipe.rise or recipe.warmup_iterations):
        raise ValueError(
            "`steps_per_execution` must be 1 if the learning rate rises from step to step in a plateau schedule. "
            "Choose --rise 0 and no --warmup-iterations, or another --schedule."
        )
