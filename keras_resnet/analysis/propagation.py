"""Forward signals and backward gradients through a network (He et al. 2016, section 2 and equations 3 to 8).

If the shortcuts are the identity, the gradient at any unit's input is the gradient at the last unit's output plus a
term through the residuals (equation 5). If the shortcuts scale by a factor, the first term is multiplied by the product
of the factors of all units in between (equation 8), which vanishes or explodes with depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from .. import backend
from ..drawing import draw_line, legend_below, plain, save, styles, vertically_logarithmic, whole_numbers
from ..models.chain import Branches, Chain, branches, chain
from ..models.taps import to_logits
from .inputs import Batches, counted, norms, significant, summed_loss, vectors


def propagation(model: keras.Model, batches: Batches, *, verbose: int = 0) -> dict[str, Any]:
    """Measures the strength of signals and gradients at each unit, and the factors on the shortcuts.

    Args:
        model: a model of this package with a top, preferably untrained, that takes raw images.
        batches: batches of images (n, height, width, channels), labels (n,) and weights (n,); images of weight 0 are
            left out.
        verbose: 1 for a progress bar.

    Returns:
        "units", a dict for the stem and each unit, all numbers means over the images: "unit"; "signal", the root mean
        square of its output; "gradient", the norm of the loss's gradient at its output; "factor", the norm of what its
        shortcut carries divided by that of its input, which is the lambda of equation 6: 1 for the identity, an average
        for gates and convolutions, the value at inference for dropout, 0 for a plain unit, and None for the stem and
        where the shape changes, which the equations do not cover; and "product", the product of the factors of all
        units after it.

    Raises:
        ValueError: the model has no top or is not of this package, or there are no images.
    """
    parts, split = chain(to_logits(model)), branches(model)
    gradients_at_outputs = _gradients_at_outputs(model, parts)
    names, count, shapes = ["stem", *parts.units], 0, []
    signal, gradient, factor = np.zeros((3, len(names)))  # sums over images
    for images, labels in tqdm(counted(batches), "Batches", leave=False, disable=not verbose):
        outputs, factors = _forward(parts, split, images)
        shapes = [output.shape[1:] for output in outputs]
        probes = [keras.ops.zeros_like(output) for output in outputs]
        signal += [np.sqrt(np.square(vectors(output)).mean(axis=1)).sum() for output in outputs]
        gradient += [norms(at_output).sum() for at_output in gradients_at_outputs(probes, images, labels)]
        factor += [each.sum() for each in factors]
        count += len(images)
    same_shape = [index > 0 and shapes[index] == shapes[index - 1] for index in range(len(names))]
    mean_factor = [float(value) / count if same else None for value, same in zip(factor, same_shape, strict=True)]
    return {
        "units": [
            {
                "unit": name,
                "signal": float(signal[index]) / count,
                "gradient": float(gradient[index]) / count,
                "factor": None if own is None else significant(own),
                "product": math.prod((value for value in mean_factor[index + 1 :] if value is not None), start=1.0),
            }
            for index, (name, own) in enumerate(zip(names, mean_factor, strict=True))
        ]
    }


def _gradients_at_outputs(model: keras.Model, parts: Chain) -> Callable[..., list[np.ndarray]]:
    """Returns a function from zeros of the shapes of all outputs, images and labels to the gradients at the outputs."""

    def loss(probes: list[Any], images: Any, labels: Any) -> Any:
        """The loss with a probe added to each output of the stem and the units; its gradient is that of the output."""
        x = parts.stem(images) + probes[0]
        for unit, probe in zip(parts.units.values(), probes[1:], strict=True):
            x = unit(x) + probe
        return summed_loss(parts.head(x), labels)

    return backend.gradient(loss, model.variables)


def _forward(parts: Chain, split: Mapping[str, Branches], images: np.ndarray) -> tuple[list[Any], list[np.ndarray]]:
    """Returns the outputs of the stem and the units, and for each of them the factor on its shortcut for each image."""
    outputs, factors = [parts.stem(images)], [np.zeros(len(images))]
    for name, unit in parts.units.items():
        x, factor = outputs[-1], np.zeros(len(images))
        if name in split:
            shortcut, _ = split[name].split(x)
            factor = norms(shortcut) / np.maximum(norms(x), np.finfo("float32").tiny)
        outputs.append(unit(x))
        factors.append(factor)
    return outputs, factors


def summary_line(result: dict[str, Any]) -> str:
    """Returns the result in one line."""
    stem, last = result["units"][0], result["units"][-1]
    return (
        f"signal {_growth(stem['signal'], last['signal'])} from the stem to the last unit, gradient "
        f"{_growth(last['gradient'], stem['gradient'])} from there back to the stem; product of the shortcuts' factors "
        f"{stem['product']:.3g}"
    )


def _growth(begin: float, end: float) -> str:
    return f"times {end / begin:.3g}" if begin else f"from 0 to {end:.3g}"


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws signal, gradient and product of the factors by unit.

    Args:
        networks: results of `propagation` by network name.
        path: the PNG file to write.
        title: title of the picture.
    """
    figure = Figure(figsize=(12, 4), dpi=150, layout="constrained")
    panels = [plain(axes) for axes in figure.subplots(1, 3)]
    labels = {
        "signal": "root mean square of the output",
        "gradient": "norm of the loss's gradient at the output",
        "product": "product of the later shortcuts' factors",
    }
    looks = styles(networks)
    for name, result in networks.items():
        for axes, key in zip(panels, labels, strict=True):
            values = [unit[key] or np.nan for unit in result["units"]]  # zeros have no place on a logarithmic axis
            draw_line(axes, range(len(values)), values, looks[name])
            if not all(unit[key] for unit in result["units"]):
                axes.set_title("without the zeros, which a logarithmic axis cannot show", fontsize=8)
    for axes, label in zip(panels, labels.values(), strict=True):
        axes.set_xlabel("unit, from the stem (0) to the output")
        axes.set_ylabel(label)
        vertically_logarithmic(axes)
        whole_numbers(axes.xaxis)
    legend_below(panels[0], figure)
    save(figure, path, title)
