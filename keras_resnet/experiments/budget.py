"""Budgets scale experiments down, and mark them as scaled: shallower networks, fewer epochs, fewer training images."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ..models.catalog import find, of_depth
from ..training.schedule import warmup_rate
from .rows import Experiment, Row

BASIC_STEP = 6  # layers between consecutive depths of CIFAR networks of basic units
# The same of bottleneck units: every other depth, because only these also exist with basic units, so that a table
# compares networks of equal depth.
BOTTLENECK_STEP = 18


@dataclass(frozen=True)
class Budget:
    """Numbers that scale an experiment down; None leaves the paper's value.

    Attributes:
        depth: maximum depth of CIFAR networks. The networks of an experiment are replaced by shallower ones in the
            same order, up to this depth; if there are fewer such depths than the experiment has, the deepest networks
            are left out.
        epochs: epochs of each run; its schedule is scaled to them.
        images: number of training images, drawn at random.

    Raises:
        ValueError: the depth is below 8, or another number below 1.
    """

    depth: int | None = None
    epochs: int | None = None
    images: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("depth", 8), ("epochs", 1), ("images", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"The budget's {name} must be at least {least}. Received: {value}")

    @classmethod
    def parse(cls, text: str | None) -> Budget:
        """Parses "depth=20,epochs=4,images=10000", or a part of it; None for no budget.

        Raises:
            ValueError: the text cannot be parsed.
        """
        if text is None:
            return cls()
        try:
            pairs = [part.split("=") for part in text.split(",") if part]
            values = {name.strip(): int(value) for name, value in pairs}
        except ValueError:
            values = None
        # An empty text, as of a shell's variable that is not set, must not begin runs of the papers' size.
        if not values or values.keys() - {entry.name for entry in fields(cls)} or len(values) < len(pairs):
            raise ValueError(f"A budget must read depth=20,epochs=4,images=10000, or a part of it. Received: {text!r}")
        return cls(**values)

    def __bool__(self) -> bool:
        return self != Budget()

    def __str__(self) -> str:
        """Returns the limits in words, as every output of a scaled run states them."""
        words = {"depth": "{:,} layers at most", "epochs": "{:,} epochs", "images": "{:,} training images"}
        if self.epochs == 1:
            words["epochs"] = "{} epoch"
        return ", ".join(
            text.format(value) for name, text in words.items() if (value := getattr(self, name)) is not None
        )

    def scale(self, experiment: Experiment) -> Experiment:
        """Returns the experiment scaled down to the budget.

        Raises:
            ValueError: a depth is given for ImageNet's networks, or leaves no network.
        """
        recipe = {name: value for name in ("epochs", "images") if (value := getattr(self, name)) is not None}
        if "epochs" in recipe:
            # 400 steps of warm-up may be more than a scaled run has. Without this length, the training error ends the
            # warm-up, as in the 2015 paper.
            recipe |= {"iterations": None, "warmup_iterations": None}
        rows = _shallower(experiment, self.depth) if self.depth else experiment.rows
        return replace(experiment, rows=tuple(replace(row, recipe={**row.recipe, **recipe}) for row in rows))


def _shallower(experiment: Experiment, limit: int) -> tuple[Row, ...]:
    """Returns the rows of an experiment with shallower networks, of at most `limit` layers."""
    specs = {row.name: row.spec for row in experiment.rows}
    if any(spec.stem != "cifar" for spec in specs.values()):
        raise ValueError(f"A budget for {experiment.name} must have no depth: only CIFAR's networks can be scaled.")
    replacements: dict[str, dict[int, int]] = {}  # by unit: the new depth of each depth
    for unit in dict.fromkeys(spec.unit for spec in specs.values()):
        depths = sorted({spec.depth for spec in specs.values() if spec.unit == unit})
        step = BOTTLENECK_STEP if unit == "bottleneck" else BASIC_STEP
        allowed = list(range(2 + step, limit + 1, step))
        pairs = zip(depths, allowed[-len(depths) :], strict=False)
        replacements[unit] = {depth: min(depth, shallower) for depth, shallower in pairs}
    chosen = {row.name: replacements[specs[row.name].unit].get(specs[row.name].depth) for row in experiment.rows}
    rows = [_of_depth(row, depth) for row in experiment.rows if (depth := chosen[row.name])]
    if not rows:
        raise ValueError(f"The budget's depth must be larger: {limit} leaves no network of {experiment.name}.")
    return tuple(rows)


def _of_depth(row: Row, depth: int) -> Row:
    """Returns a row with a network of another depth, otherwise identical and trained like the original network."""
    model = of_depth(row.model, depth)
    original = row.spec
    unit = {} if find(model).spec.unit == original.unit else {"unit": original.unit}
    scaled = replace(row, model=model, network={**unit, **row.network})
    warmup = {"warmup_rate": rate} if (rate := warmup_rate(original)) != warmup_rate(scaled.spec) else {}
    return replace(scaled, recipe={**warmup, **row.recipe})
