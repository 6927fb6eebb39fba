"""What an experiment is: rows of a network, a recipe and what the paper prints of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ..models.catalog import find
from ..models.spec import Spec
from ..training.recipe import Recipe
from ..training.recipes import recipe_for

FAIL = 20.0  # percent of error above which He et al. 2016 print "fail"
TRAINING_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet2012": 1_281_167}


class Published(NamedTuple):
    """What a paper prints of a row, in percent of top-1 error unless said.

    Attributes:
        error: of one run, or of several the best (2015) or the median (2016); None where nothing, or no number, is
            printed.
        mean, deviation: of several runs.
        top5: top-5 error.
        fail: whether only so much is printed: that it is above a number.
        above: that number; by "fail", He et al. 2016 mean 20.
    """

    error: float | None = None
    mean: float | None = None
    deviation: float | None = None
    top5: float | None = None
    fail: bool = False
    above: float = FAIL

    @property
    def expected(self) -> float | None:
        """The error that a run is held against: the mean where there is one."""
        return self.error if self.mean is None else self.mean

    def __str__(self) -> str:
        """As the paper says it."""
        if self.fail:
            return "fail" if self.above == FAIL else f"above {self.above:g}"
        if self.error is None:
            return ""
        spread = "" if self.mean is None else f" ({self.mean:.2f} ± {self.deviation:.2f})"
        return f"{self.error:.2f}{spread}" + ("" if self.top5 is None else f" / {self.top5:.2f}")


NOTHING = Published()


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: what it is called, unique in its experiment.
        model: the network, by its name.
        published: what the paper prints of it.
        network: choices of `Spec` that differ from the named network's.
        recipe: fields of `Recipe` that differ from the experiment's.
        view: how the test images are looked at, where that is not the experiment's way; empty for one view.
    """

    name: str
    model: str
    published: Published = NOTHING
    network: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    view: dict[str, Any] | None = None

    @property
    def spec(self) -> Spec:
        """The network."""
        return find(self.model, self.network.get("unit")).respec(**self.network)


@dataclass(frozen=True)
class Experiment:
    """A table or a figure of a paper.

    Attributes:
        name: what it is called here, such as "he2016-table2".
        source: where it stands, such as "He et al. 2016, table 2".
        title: what it shows.
        rows: its rows; those of a figure are its curves.
        dataset: what is trained and tested on.
        recipe: the named recipe.
        view: how the test images are looked at, as `keras-resnet evaluate` takes it; empty for one view.
        analysis: how the trained networks are looked into, as `keras-resnet analyze` takes it; empty for not at all.
        curves: whether the paper draws curves; they are drawn of every experiment.
    """

    name: str
    source: str
    title: str
    rows: tuple[Row, ...]
    dataset: str = "cifar10"
    recipe: str = "paper"
    view: dict[str, Any] = field(default_factory=dict)
    analysis: str = ""
    curves: bool = False

    def recipe_of(self, row: Row, seed: int = 0, data_dir: str | None = None) -> Recipe:
        """What a row trains."""
        choices = {"dataset": self.dataset, "model": row.model, "network": row.network, "seed": seed, **row.recipe}
        return recipe_for(self.recipe, **{**choices, **({"data_dir": data_dir} if data_dir else {})})

    def only(self, names: list[str]) -> Experiment:
        """The same with some of its rows.

        Raises:
            ValueError: a row that it does not have; the message names those that it has.
        """
        known = [row.name for row in self.rows]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"{self.name} has the rows {', '.join(known)}. Received: {', '.join(unknown)}")
        return replace(self, rows=tuple(row for row in self.rows if row.name in names))
