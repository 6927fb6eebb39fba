"""How signals go forward and gradients back through a network (He et al. 2016, section 2 and equations 3 to 8).

Where shortcuts are the identity, the gradient of any unit's input holds that of the last unit's output as it is, and
what comes by the residuals is added to it (equation 5). Where they scale by a factor, it holds it times the product of
the factors of all units in between (equation 8), which vanishes, or explodes, with the depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from .. import backend
from ..drawing import legend, literal, plain, save
from ..models.chain import branches, chain
from ..models.taps import to_logits
from .looking import counted, summed_loss


def propagation(
    model: keras.Model, batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], *, verbose: int = 0
) -> dict[str, Any]:
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
    names = ["stem", *parts.units]

    def loss(probes: list[Any], images: Any, labels: Any) -> Any:
        """With a probe added to what the stem and each unit puts out, whose gradient is that of the output."""
        x = parts.stem(images) + probes[0]
        for unit, probe in zip(parts.units.values(), probes[1:], strict=True):
            x = unit(x) + probe
        return summed_loss(parts.head(x), labels)

    gradient = backend.gradient(loss, model.variables)
    sums, factors, count, shapes = np.zeros((2, len(names))), np.zeros(len(names)), 0, []
    for images, labels in tqdm(counted(batches), "Batches", leave=False, disable=not verbose):
        outputs, carried = _forward(parts, split, images)
        shapes = [output.shape[1:] for output in outputs]
        found = gradient([keras.ops.zeros_like(output) for output in outputs], images, labels)
        sums[0] += [np.sqrt(np.square(_rows(output)).mean(axis=1)).sum() for output in outputs]
        sums[1] += [np.linalg.norm(_rows(at), axis=1).sum() for at in found]
        factors += [np.sum(factor) for factor in carried]
        count += len(images)
    factor = [
        None if number == 0 or shapes[number] != shapes[number - 1] else float(factors[number]) / count
        for number in range(len(names))
    ]
    product, products = 1.0, []
    for value in reversed(factor):
        products.append(product)
        product *= 1.0 if value is None else value
    return {
        "units": [
            {
                "unit": name,
                "signal": float(sums[0, number]) / count,
                "gradient": float(sums[1, number]) / count,
                "factor": None if factor[number] is None else round(factor[number], 5),
                "product": products[-1 - number],
            }
            for number, name in enumerate(names)
        ]
    }


def _forward(parts: Any, split: Mapping[str, Any], images: np.ndarray) -> tuple[list[Any], list[np.ndarray]]:
    """What the stem and each unit puts out, and the factor on each one's shortcut, an image."""
    outputs, factors = [parts.stem(images)], [np.zeros(len(images))]
    for name, unit in parts.units.items():
        x, factor = outputs[-1], np.zeros(len(images))
        if name in split:
            shortcut, _ = split[name].split(x)
            norms = [np.linalg.norm(_rows(value), axis=1) for value in (shortcut, x)]
            factor = norms[0] / np.maximum(norms[1], np.finfo("float32").tiny)
        outputs.append(unit(x))
        factors.append(factor)
    return outputs, factors


def _rows(x: Any) -> np.ndarray:
    """A vector an image."""
    return keras.ops.convert_to_numpy(x).reshape(len(x), -1).astype("float64")


def in_words(found: dict[str, Any]) -> str:
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
