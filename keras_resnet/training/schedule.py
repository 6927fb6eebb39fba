"""The learning rate by the share of a schedule that is done: the papers' steps, and what else a recipe can name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..models.spec import Spec

if TYPE_CHECKING:
    from .recipe import Recipe

PAPERS_ITERATIONS = 64_000  # of the CIFAR recipe (2015, section 4.2), where a recipe names no length
WARMUP_RATE = 0.01  # of both papers


def warmup_rate(spec: Spec) -> float:
    """The learning rate at which He et al. 2015 begin with a CIFAR network; 0 for the full one.

    Theirs have a warm-up from 110 layers on (section 4.2); the full pre-activation unit does not need it (2016,
    appendix).
    """
    deep = spec.stem == "cifar" and spec.depth >= 110
    return WARMUP_RATE if deep and spec.order != "full_preactivation" else 0.0


def scheduled_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate after a share of the schedule, without warm-up and plateaus."""
    if progress < recipe.rise:
        return recipe.learning_rate * progress / recipe.rise
    if recipe.schedule == "step":
        return recipe.learning_rate / recipe.drop_factor ** sum(progress >= drop for drop in recipe.drops)
    if recipe.schedule == "plateau":
        return recipe.learning_rate
    left = min(1.0, (progress - recipe.rise) / (1 - recipe.rise))
    shape = (1 + math.cos(math.pi * left)) / 2 if recipe.schedule == "cosine" else 1 - left
    return recipe.learning_rate * shape


def plateaus(errors: Iterable[float], patience: int) -> int:
    """How often, over the epochs with these errors, none of `patience` epochs was better than the best before them."""
    best, waited, count = math.inf, 0, 0
    for error in errors:
        best, waited = (error, 0) if error < best else (best, waited + 1)
        if waited == patience:
            count, waited = count + 1, 0
    return count
