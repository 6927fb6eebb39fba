"""How signals go forward and gradients back through a network (He et al. 2016, section 2 and equations 3 to 8).

Where shortcuts are the identity, the gradient of any unit's input holds that of the last unit's output as it is, and
what comes by the residuals is added to it (equation 5). Where they scale by a factor, it holds it times the product of
the factors of all units in between (equation 8), which vanishes, or explodes, with the depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from .. import backend
from ..drawing import legend, literal, plain, save
from ..models.chain import Branches, Chain, branches, chain
from ..models.taps import to_logits
from .inputs import Batches, counted, norms, summed_loss, vectors


def propagation(model: keras.Model, batches: Batches, *, verbose: int = 0) -> dict[str, Any]:
    """The strength of signals and gradients from unit to unit, and the factors on the shortcuts.

    Args:
        model: a model of this package with a top, best one that was not trained; takes raw images.
        batches: images (n, height, width, channels), labels (n,) and weights (n,), of which 0 leaves an image out.
        verbose: 1 for a progress bar.

    Returns:
        "units", the stem and each unit, every number the mean over images: "unit"; "signal", the root mean square of
        its output; "gradient", the norm of the loss's gradient at its output; "factor", the norm of what its shortcut
        carries over that of its input: the lambda of equation 6, 1 for the identity, of gates and convolutions what
        they do on the average, and of dropout what it does at inference (0 for a plain unit, None for the stem and
        where the shape changes, which the equations leave aside); and "product", that of the factors of all units
        behind it.

    Raises:
        ValueError: a model without a top, or of someone else's; or no images.
    """
    parts, split = chain(to_logits(model)), branches(model)
    gradient = _gradient(model, parts)
    names, count, shapes = ["stem", *parts.units], 0, []
    signal, strength, factor = np.zeros((3, len(names)))
    for images, labels in tqdm(counted(batches), "Batches", leave=False, disable=not verbose):
        outputs, factors = _forward(parts, split, images)
        shapes = [output.shape[1:] for output in outputs]
        found = gradient([keras.ops.zeros_like(output) for output in outputs], images, labels)
        signal += [np.sqrt(np.square(vectors(output)).mean(axis=1)).sum() for output in outputs]
        strength += [norms(at).sum() for at in found]
        factor += [each.sum() for each in factors]
        count += len(images)
    kept = [place > 0 and shapes[place] == shapes[place - 1] for place in range(len(names))]
    mean = [float(value) / count if same else None for value, same in zip(factor, kept, strict=True)]
    return {
        "units": [
            {
                "unit": name,
                "signal": float(signal[place]) / count,
                "gradient": float(strength[place]) / count,
                "factor": None if mean[place] is None else round(mean[place], 5),
                "product": math.prod((value for value in mean[place + 1 :] if value is not None), start=1.0),
            }
            for place, name in enumerate(names)
        ]
    }


def _gradient(model: keras.Model, parts: Chain) -> Callable[..., list[np.ndarray]]:
    """From zeros of the shapes of all outputs, images and labels to the loss's gradients at the outputs."""

    def loss(probes: list[Any], images: Any, labels: Any) -> Any:
        """With a probe added to what the stem and each unit puts out, whose gradient is that of the output."""
        x = parts.stem(images) + probes[0]
        for unit, probe in zip(parts.units.values(), probes[1:], strict=True):
            x = unit(x) + probe
        return summed_loss(parts.head(x), labels)

    return backend.gradient(loss, model.variables)


def _forward(parts: Chain, split: Mapping[str, Branches], images: np.ndarray) -> tuple[list[Any], list[np.ndarray]]:
    """What the stem and each unit puts out, and the factor on each one's shortcut, an image."""
    outputs, factors = [parts.stem(images)], [np.zeros(len(images))]
    for name, unit in parts.units.items():
        x, factor = outputs[-1], np.zeros(len(images))
        if name in split:
            shortcut, _ = split[name].split(x)
            factor = norms(shortcut) / np.maximum(norms(x), np.finfo("float32").tiny)
        outputs.append(unit(x))
        factors.append(factor)
    return outputs, factors


def summary_line(found: dict[str, Any]) -> str:
    """What was found, in a line."""
    stem, last = found["units"][0], found["units"][-1]
    return (
        f"from stem to last unit the signal becomes {last['signal'] / stem['signal']:.3g} times as strong, back again "
        f"the gradient {stem['gradient'] / last['gradient']:.3g} times; product of the factors {stem['product']:.3g}"
    )


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws signal, gradient and product of the factors by unit.

    Args:
        networks: by name, what `propagation` returns.
        path: the PNG file to write.
        title: what stands above the picture.
    """
    figure = Figure(figsize=(12, 4), dpi=150, layout="constrained")
    panels = [plain(axes) for axes in figure.subplots(1, 3)]
    labels = {
        "signal": "root mean square of the output",
        "gradient": "norm of the loss's gradient at the output",
        "product": "product of the later shortcuts' factors",
    }
    for name, found in networks.items():
        for axes, key in zip(panels, labels, strict=True):
            values = [unit[key] or np.nan for unit in found["units"]]  # a logarithm has no zero
            axes.plot(range(len(values)), values, ".-", markersize=4, linewidth=1.2, label=literal(name))
    for axes, label in zip(panels, labels.values(), strict=True):
        axes.set_xlabel("unit, from the stem (0) to the output")
        axes.set_ylabel(label)
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(panels[0])
    save(figure, path, title)
