"""Experiments made smaller, and said to be so: less depth, fewer epochs, fewer training images."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ..models.catalog import find, of_depth
from ..training.schedule import warmup_rate
from .rows import Experiment, Row

BASIC = 6  # layers by which a CIFAR network of basic units grows
BOTTLENECK = 18  # of bottleneck units: each second depth, which basic units make too, so that tables compare equals


@dataclass(frozen=True)
class Budget:
    """How much smaller; None for the papers' own.

    Attributes:
        depth: the deepest CIFAR network that is trained. Those of an experiment give way to shallower ones in the same
            order, up to this depth; where there are fewer depths than they have, the deepest are left out.
        epochs: of each run, along which the schedule scales.
        images: training images, drawn at random.

    Raises:
        ValueError: a number below what makes a network or a run.
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
        """From "depth=20,epochs=4,images=10000", or a part of it.

        Raises:
            ValueError: something else.
        """
        try:
            pairs = [part.split("=") for part in (text or "").split(",") if part]
            values = {name.strip(): int(value) for name, value in pairs}
        except ValueError:
            values = None
        if values is None or values.keys() - {entry.name for entry in fields(cls)}:
            raise ValueError(f"A budget reads depth=20,epochs=4,images=10000, or a part of it. Received: {text!r}")
        return cls(**values)

    def __bool__(self) -> bool:
        return self != Budget()

    def __str__(self) -> str:
        """In words, for every output of a scaled run."""
        words = {"depth": "{:,} layers at most", "epochs": "{:,} epochs", "images": "{:,} training images"}
        return ", ".join(
            text.format(value) for name, text in words.items() if (value := getattr(self, name)) is not None
        )

    def scale(self, experiment: Experiment) -> Experiment:
        """The experiment within the budget.

        Raises:
            ValueError: a depth for networks that are not CIFAR's, or one that leaves none.
        """
        recipe = {name: value for name in ("epochs", "images") if (value := getattr(self, name)) is not None}
        if "epochs" in recipe:
            # A warm-up of 400 steps may be longer than such a run: it ends by the training error, as in 2015.
            recipe |= {"iterations": None, "warmup_iterations": None}
        rows = self._shallower(experiment) if self.depth else experiment.rows
        return replace(experiment, rows=tuple(replace(row, recipe={**row.recipe, **recipe}) for row in rows))

    def _shallower(self, experiment: Experiment) -> tuple[Row, ...]:
        specs = {row.name: row.spec for row in experiment.rows}
        if any(spec.stem != "cifar" for spec in specs.values()):
            raise ValueError(f"A budget's depth is for CIFAR's networks; {experiment.name} is of ImageNet's.")
        instead: dict[str, dict[int, int]] = {}
        for unit in dict.fromkeys(spec.unit for spec in specs.values()):
            depths = sorted({spec.depth for spec in specs.values() if spec.unit == unit})
            step = BOTTLENECK if unit == "bottleneck" else BASIC
            there = list(range(2 + step, self.depth + 1, step))
            fewer = zip(depths, there[-len(depths) :], strict=False)
            instead[unit] = {own: min(own, depth) for own, depth in fewer}
        chosen = {row.name: instead[specs[row.name].unit].get(specs[row.name].depth) for row in experiment.rows}
        rows = [_of_depth(row, depth) for row in experiment.rows if (depth := chosen[row.name])]
        if not rows:
            raise ValueError(f"A depth of {self.depth} leaves no network of {experiment.name}.")
        return tuple(rows)


def _of_depth(row: Row, depth: int) -> Row:
    """A row with another depth: of the same kind, units and all, and trained as the one that it stands for."""
    model = of_depth(row.model, depth)
    own, other = row.spec, find(model).spec
    unit = {} if other.unit == own.unit else {"unit": own.unit}
    smaller = replace(row, model=model, network={**unit, **row.network})
    warmup = {"warmup_rate": rate} if (rate := warmup_rate(own)) != warmup_rate(smaller.spec) else {}
    return replace(smaller, recipe={**warmup, **row.recipe})
