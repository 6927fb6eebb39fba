"""Which views of an image a network is tested on.

A view is a window of an image, resized. That which a network itself is tested on, its centre view, is described in its
file by "size", the side of the window, and "resize", the shorter side of the image from which it is cropped.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class Views:
    """Which views of each image a network is tested on.

    Attributes:
        crops: 1 for the centre crop; 10 for the four corners, the centre and their mirror images (2015, table 3).
        scales: the shorter sides to which entire images are resized, each tested with its mirror image (2015, table 4);
            empty for crops.
        size, resize: the side of the crops, and the shorter side of the image from which they are cropped; None for
            the network's own.
        mirror: whether a single view is averaged with its mirror image.

    Raises:
        ValueError: a field does not accept its value, or two contradict one another.
    """

    crops: int = option(
        1, "photographs: 1, the centre, or 10, the four corners and the centre, each mirrored too", choices=(1, 10)
    )
    scales: tuple[int, ...] = option(
        (),
        "photographs: uncropped, resized to each of these shorter sides, each mirrored too; the papers use "
        "224,256,384,480,640",
        at_least=1,
    )
    size: int | None = option(None, "photographs: side of the crops in pixels [as the network was trained]", at_least=1)
    resize: int | None = option(
        None,
        "photographs: shorter side of the image before cropping in pixels [as the network was trained]",
        at_least=1,
    )
    mirror: bool = option(False, "with one view: average the predictions for it and its mirror image")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.scales and (self.crops != 1 or self.size or self.resize):
            raise ValueError(
                "`scales` cannot be combined with `crops`, `size` or `resize`, since they apply to entire images."
            )
        if self.mirror and (self.crops != 1 or self.scales):
            raise ValueError(
                "`mirror` is for one view; ten crops and entire images at several scales are mirrored already."
            )

    def __str__(self) -> str:
        if self.scales:
            return f"scales {','.join(map(str, self.scales))}"
        kind = "ten crops" if self.crops == 10 else "one view"
        if self.mirror:
            kind += ", mirrored too"
        sizes = [f"{name} {side}" for name, side in (("size", self.size), ("resize", self.resize)) if side]
        return ", ".join([kind, *sizes])
