"""Learning-rate schedules: the papers' steps and the others that a recipe can name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..models.spec import Spec

if TYPE_CHECKING:
    from .recipe import Recipe

PAPERS_ITERATIONS = 64_000  # of the CIFAR recipe (2015, section 4.2); the default length
WARMUP_RATE = 0.01  # in both papers


def warmup_rate(spec: Spec) -> float:
    """Returns the default learning rate of the warm-up; 0 for none.

    CIFAR networks of 110 layers or more warm up (2015, section 4.2), except those with full pre-activation units, which
    do not need it (2016, appendix).
    """
    deep = spec.stem == "cifar" and spec.depth >= 110
    return WARMUP_RATE if deep and spec.order != "full_preactivation" else 0.0


def scheduled_rate(recipe: Recipe, progress: float) -> float:
    """Returns the learning rate after a fraction of the schedule, not counting warm-up and plateaus."""
    if progress < recipe.rise:
        return recipe.learning_rate * progress / recipe.rise
    if recipe.schedule == "step":
        return recipe.learning_rate / recipe.drop_factor ** sum(progress >= drop for drop in recipe.drops)
    if recipe.schedule == "plateau":
        return recipe.learning_rate
    decay = min(1.0, (progress - recipe.rise) / (1 - recipe.rise))
    factor = (1 + math.cos(math.pi * decay)) / 2 if recipe.schedule == "cosine" else 1 - decay
    return recipe.learning_rate * factor


def plateaus(errors: Iterable[float], patience: int) -> int:
    """Counts the plateaus in the errors of successive epochs: `patience` epochs in a row without a new lowest error."""
    best, waited, count = math.inf, 0, 0
    for error in errors:
        best, waited = (error, 0) if error < best else (best, waited + 1)
        if waited == patience:
            count, waited = count + 1, 0
    return count
