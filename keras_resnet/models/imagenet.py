"""The networks for ImageNet, one line each: those of He et al. 2015, table 1, and their V2 of He et al. 2016."""

from __future__ import annotations

from typing import Any

from .architectures import PLAIN, V2, Architecture, architecture
from .spec import Spec


def _net(name: str, units: tuple[int, ...], flops: str | None = None, **choices: Any) -> Architecture:
    spec = Spec(stage_units=units, stage_filters=(64, 128, 256, 512), stem="imagenet", **choices)
    paper = "He et al. 2016, figure 4(e)" if "order" in choices else "He et al. 2015, table 1"
    summary = f"{spec.depth} weighted layers, {spec.unit} units, for ImageNet ({paper})."
    return architecture(name, spec, classes=1000, summary=summary, published={"macs": flops} if flops else {})


ResNet18 = _net("ResNet18", (2, 2, 2, 2), "1.8e9")
ResNet34 = _net("ResNet34", (3, 4, 6, 3), "3.6e9")
ResNet50 = _net("ResNet50", (3, 4, 6, 3), "3.8e9", unit="bottleneck")
ResNet101 = _net("ResNet101", (3, 4, 23, 3), "7.6e9", unit="bottleneck")
ResNet152 = _net("ResNet152", (3, 8, 36, 3), "11.3e9", unit="bottleneck")
ResNet200 = _net("ResNet200", (3, 24, 36, 3), unit="bottleneck")

ResNet18V2 = _net("ResNet18V2", (2, 2, 2, 2), **V2)
ResNet34V2 = _net("ResNet34V2", (3, 4, 6, 3), **V2)
ResNet50V2 = _net("ResNet50V2", (3, 4, 6, 3), unit="bottleneck", **V2)
ResNet101V2 = _net("ResNet101V2", (3, 4, 23, 3), unit="bottleneck", **V2)
ResNet152V2 = _net("ResNet152V2", (3, 8, 36, 3), unit="bottleneck", **V2)
ResNet200V2 = _net("ResNet200V2", (3, 24, 36, 3), unit="bottleneck", **V2)

PlainNet18 = _net("PlainNet18", (2, 2, 2, 2), "1.8e9", **PLAIN)
PlainNet34 = _net("PlainNet34", (3, 4, 6, 3), "3.6e9", **PLAIN)
