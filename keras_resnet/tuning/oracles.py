"""keras-tuner's oracles, which choose the candidates, extended by bounds and fault tolerance.

They never choose a candidate that is out of bounds. Their state is saved atomically. A trial whose worker has died is
run again by another.
"""

from __future__ import annotations

import itertools
import json
import math
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from sklearn.exceptions import ConvergenceWarning

from ..files import write_text
from .candidates import Bounds, grid, with_valid_default
from .parameters import decoded, encoded
from .space import Space

TRIES = 2000  # random candidates that are drawn until one is new and within bounds
POOL = 256  # random candidates from which the Gaussian process chooses one
PATIENCE = 600.0  # seconds without contact after which a worker counts as dead


class Oracle(keras_tuner.Oracle):
    """Extends keras-tuner's oracles by bounds, atomic saving and the recovery of lost trials.

    Attributes:
        space: the search space.
        bounds: limits on the cost of a candidate.
        patience: seconds without contact after which a worker counts as dead.
    """

    space: Space
    bounds: Bounds
    patience = PATIENCE
    trials: dict[str, Trial]
    _retry_queue: list[str]

    def attach(self, space: Space, bounds: Bounds, max_trials: int | None) -> None:
        """Sets what the constructors of keras-tuner's oracles have no arguments for. Must be called before use.

        Raises:
            ValueError: no candidate of the space can be trained, or none that is drawn is within the bounds.
        """
        self.space, self.bounds, self.max_trials = space, bounds, max_trials
        self._max_collisions = TRIES
        self._last_contact: dict[str, float] = {}  # by running trial: when its worker was last heard of
        self._last_request: dict[str, float] = {}  # by worker: when it last asked for a trial
        self.verbose = 0
        self._check_first()
        self._seed_state = self.seed  # the check above must not change what is drawn later

    def _check_first(self) -> None:
        """Checks that a first candidate is found, before anything is written."""
        if self._random_values() is None:
            with_valid_default(self.space, self.bounds)  # raises if the grid has no candidate, either
            raise ValueError(
                f"None of {TRIES:,} random candidates is within the bounds: {self.bounds}. Narrow the space, or search "
                "all candidates within the bounds (--tuner grid)."
            )

    def _admits(self, values: Mapping[str, Any]) -> bool:
        return self.bounds.admits(decoded(values))

    def _duplicate(self, values: Mapping[str, Any]) -> bool:
        """Also treats candidates out of bounds as duplicates, so that random sampling rejects them."""
        return super()._duplicate(values) or not self._admits(values)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the next trial; lets workers wait at the end while a trial of another worker may still be lost."""
        self.reclaim_lost_trials()
        self._last_request[tuner_id] = time.monotonic()
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            trial.status = TrialStatus.IDLE
            self.tuner_ids.add(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            self._last_contact[trial.trial_id] = time.monotonic()
        return trial

    def get_trial(self, trial_id: str) -> Trial:
        """Returns a trial and records that its worker is alive."""
        self._last_contact[trial_id] = time.monotonic()
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def reclaim_lost_trials(self) -> list[str]:
        """Queues the trials of dead workers to be run again by others; returns the numbers of these trials."""
        now, lost = time.monotonic(), []
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if now - self._last_contact.setdefault(trial.trial_id, now) > self.patience:
                del self.ongoing_trials[tuner_id]
                self.tuner_ids.discard(tuner_id)
                self._retry_queue.append(trial.trial_id)
                lost.append(trial.trial_id)
        for tuner_id in self.tuner_ids - self.ongoing_trials.keys():  # idle workers ask every second
            if now - self._last_request.setdefault(tuner_id, now) > self.patience:
                self.tuner_ids.discard(tuner_id)
        if lost:
            self.save()
        return lost

    def watch(self, every: float = 1.0) -> threading.Thread:
        """Starts a thread that looks for dead workers, also while none asks for a trial, as at the end of a search."""

        def poll() -> None:
            while True:
                time.sleep(every)
                self.reclaim_lost_trials()

        thread = threading.Thread(target=poll, daemon=True)
        thread.start()
        return thread

    def reload(self) -> None:
        """Restores a saved search. Running trials remain assigned to their workers, which may still be training them.

        A trial whose file was saved before the chief died, but not the state of the search, has been given to no
        worker. It is dropped and chosen again.
        """
        super().reload()
        self.trials = {trial_id: trial for trial_id, trial in self.trials.items() if trial_id in self.start_order}
        self._retry_queue = [trial for trial in self._retry_queue if trial not in self._was_running.values()]
        self.ongoing_trials = {
            tuner_id: self.trials[trial_id]
            for tuner_id, trial_id in self._was_running.items()
            if self.trials[trial_id].status == TrialStatus.RUNNING
        }
        self.tuner_ids |= self.ongoing_trials.keys()  # these workers will ask for further trials

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores the saved state."""
        super().set_state(state)
        self._was_running = state["ongoing_trials"]

    def save(self) -> None:
        """Saves the state atomically."""
        write_text(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Trial) -> None:
        write_text(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", json.dumps(trial.get_state()))


class RandomSearch(Oracle, keras_tuner.oracles.RandomSearchOracle):
    """Random candidates."""


class Hyperband(Oracle, keras_tuner.oracles.HyperbandOracle):
    """Many random candidates with a small budget; the best of them again with larger ones (Li et al. 2018).

    If the space has fewer candidates than a bracket begins with, the bracket continues with those that there are.
    keras-tuner's own oracle ends the search, perhaps without any trial of the full budget.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next candidate, or the end of the search."""
        response = super().populate_space(trial_id)
        if response["status"] != TrialStatus.STOPPED:
            return response
        promoted = (self._promoted(trial_id, bracket) for bracket in self._brackets)
        return next((values for values in promoted if values), response)

    def _promoted(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the best candidate of a round, with the budget of the next, for a bracket that stays incomplete.

        None if all its rounds have been run. No trial is running.
        """
        number, rounds = bracket["bracket_num"], bracket["rounds"]
        for place, (before, after) in enumerate(itertools.pairwise(rounds), start=1):
            selected = {entry["past_id"] for entry in after}
            left = [self.trials[entry["id"]] for entry in before if entry["id"] not in selected]
            left = [trial for trial in left if trial.status == TrialStatus.COMPLETED]
            if left and len(after) < math.ceil(len(before) / self.factor):
                best = min(left, key=lambda trial: trial.score)
                after.append({"past_id": best.trial_id, "id": trial_id})
                budget = {
                    "tuner/trial_id": best.trial_id,
                    "tuner/epochs": self._get_epochs(number, place),
                    "tuner/initial_epoch": self._get_epochs(number, place - 1),
                    "tuner/bracket": number,
                    "tuner/round": place,
                }
                return {"status": TrialStatus.RUNNING, "values": {**best.hyperparameters.values, **budget}}
        return None


class Grid(Oracle):
    """All candidates within the bounds, the papers' first.

    keras-tuner's own grid oracle does not save its position, and steps one by one through candidates that are out of
    bounds, of which there may be millions.
    """

    def _check_first(self) -> None:
        with_valid_default(self.space, self.bounds)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next candidate; its position in the grid is the number of trials so far."""
        values = next(itertools.islice(grid(self.space, self.bounds), len(self.trials), None), None)
        if values is None:
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": TrialStatus.RUNNING, "values": {name: encoded(value) for name, value in values.items()}}


class Bayesian(Oracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """The most promising of many random candidates within the bounds, as a Gaussian process predicts.

    keras-tuner's own oracle minimises the acquisition function numerically instead, which leaves the bounds and takes
    a minute per trial with twenty dimensions.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns a random candidate at first, then the one with the lowest confidence bound of its score."""
        done = [trial for trial in self.trials.values() if trial.status == TrialStatus.COMPLETED]
        initial = len(done) < (self.num_initial_points or 3 * len(self._nonfixed_space()))
        candidates: list[dict[str, Any]] = []
        while len(candidates) < (1 if initial else POOL) and (values := self._random_values()) is not None:
            candidates.append(values)
        if not candidates:
            return {"status": TrialStatus.STOPPED, "values": None}
        best = 0
        if len(candidates) > 1:
            points = np.array([self._vector(values) for values in candidates])
            with warnings.catch_warnings():
                # Among few trials, the fit often ends at a bound of the length scale, which is no concern of the user.
                warnings.simplefilter("ignore", ConvergenceWarning)
                self._fit(done)
            mean, deviation = self.gpr.predict(points, return_std=True)
            best = int(np.argmin(mean - self.beta * deviation))
        return {"status": TrialStatus.RUNNING, "values": candidates[best]}

    def _fit(self, done: list[Trial]) -> None:
        """Fits the Gaussian process to the scores of completed trials and to those predicted for running ones."""
        # keras-tuner predicts the latter. Without a first fit to the completed trials, the process would predict its
        # prior, zero.
        self.gpr.fit([self._vector(trial.hyperparameters.values) for trial in done], [trial.score for trial in done])
        self.gpr.fit(*self._vectorize_trials())

    def _vector(self, values: Mapping[str, Any]) -> list[float]:
        return [hp.value_to_prob(values.get(hp.name, hp.default)) for hp in self._nonfixed_space()]


def first_full_trial(budget: int, space: Space, bounds: Bounds) -> int:
    """Returns the number, from 1, of Hyperband's first trial with the full budget, when trials run one after another.

    It is the first of the last round of the first bracket, which begins with the smallest budget.

    Args:
        budget: the full budget.
        space: the search space, which may have fewer candidates than the bracket begins with.
        bounds: limits on the cost of a candidate.
    """
    hyperband = keras_tuner.oracles.HyperbandOracle(max_epochs=budget)
    bracket = hyperband._current_bracket
    sizes = [hyperband._get_size(bracket, number) for number in range(bracket)]
    if sizes and all(row.ends is None for row in space.dimensions):
        candidates = sum(1 for _ in itertools.islice(grid(space, bounds), sizes[0]))
        if candidates < sizes[0]:
            sizes = [math.ceil(candidates / hyperband.factor**number) for number in range(bracket)]
    return 1 + sum(sizes)


ORACLES = {"random": RandomSearch, "grid": Grid, "hyperband": Hyperband, "bayesian": Bayesian}
