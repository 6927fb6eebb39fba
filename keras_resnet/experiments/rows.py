"""Experiments as data: rows of a network, a recipe and the published numbers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ..evaluation.views import Views
from ..models.catalog import find
from ..models.spec import Spec
from ..training.recipe import Recipe
from ..training.recipes import recipe_for

TOP5 = " / "  # separates a top-5 error from the top-1 error before it
FAIL = 20.0  # error in percent above which He et al. 2016 print "fail"
TRAINING_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "imagenet2012": 1_281_167}


class Published(NamedTuple):
    """The published numbers of a row: top-1 errors in percent, unless stated otherwise.

    Attributes:
        error: error of a single run, or the best (2015) or median (2016) of several; None if no number is published.
        mean, deviation: mean and standard deviation of several runs.
        top5: top-5 error.
        fail: whether the paper states only that the error is above a limit.
        above: that limit; 20 where He et al. 2016 print "fail".
        decimals: number of decimals that the paper prints.
    """

    error: float | None = None
    mean: float | None = None
    deviation: float | None = None
    top5: float | None = None
    fail: bool = False
    above: float = FAIL
    decimals: int = 2

    @property
    def expected(self) -> float | None:
        """The error that runs are compared with: the mean if it is published, else `error`."""
        return self.error if self.mean is None else self.mean

    def __str__(self) -> str:
        """Returns the numbers as the paper prints them; empty if it prints none."""
        if self.fail:
            return "fail" if self.above == FAIL else f"above {self.above:g}"
        if self.error is None:
            return ""
        error, mean, deviation, top5 = (
            "" if number is None else f"{number:.{self.decimals}f}"
            for number in (self.error, self.mean, self.deviation, self.top5)
        )
        return error + (f" ({mean} ± {deviation})" if mean else "") + (f"{TOP5}{top5}" if top5 else "")


NOTHING = Published()


@dataclass(frozen=True)
class Row:
    """A row of a table, or a curve of a figure.

    Attributes:
        name: name of the row, unique in its experiment.
        model: name of the network.
        published: the published numbers.
        network: fields of `Spec` that differ from the named network's.
        recipe: fields of `Recipe` that differ from the experiment's.
        views: views of the test images, if they differ from the experiment's.
    """

    name: str
    model: str
    published: Published = NOTHING
    network: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    views: Views | None = None

    @property
    def spec(self) -> Spec:
        """The specification of the network."""
        return find(self.model, self.network.get("unit")).respec(**self.network)


@dataclass(frozen=True)
class Experiment:
    """A table or a figure of a paper.

    Attributes:
        name: name of the experiment, such as "he2016-table2".
        source: the published table or figure, such as "He et al. 2016, table 2".
        title: what it shows.
        rows: rows of the table, or curves of the figure.
        dataset: name of the data set.
        recipe: name of the recipe.
        views: views of the test images; None for the single view that each run is tested on.
        analysis: analysis of the trained networks, as named by `keras-resnet analyze`; empty for none.
        degrading: names of rows in the order in which their training error rises in the paper.
    """

    name: str
    source: str
    title: str
    rows: tuple[Row, ...]
    dataset: str = "cifar10"
    recipe: str = "paper"
    views: Views | None = None
    analysis: str = ""
    degrading: tuple[str, ...] = ()

    def recipe_of(self, row: Row, seed: int = 0, data_dir: str | None = None) -> Recipe:
        """Returns the recipe of a row."""
        choices = {"dataset": self.dataset, "model": row.model, "network": row.network, "seed": seed, **row.recipe}
        return recipe_for(self.recipe, **{**choices, **({"data_dir": data_dir} if data_dir else {})})

    def only(self, names: list[str]) -> Experiment:
        """Returns the experiment with only the named rows.

        Raises:
            ValueError: a row does not exist; the message lists all rows.
        """
        known = [row.name for row in self.rows]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"Rows of {self.name} must be among {', '.join(map(repr, known))}. "  # some have commas in their names
                f"Received: {', '.join(map(repr, unknown))}"
            )
        return replace(self, rows=tuple(row for row in self.rows if row.name in names))
