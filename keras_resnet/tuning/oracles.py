"""keras-tuner's oracles, which choose what is tried next, with what they lack.

They never choose a candidate that is out of bounds. Their state is written whole or not at all. A trial whose worker
has died is tried again by another.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus

from .. import saving
from .candidates import Bounds, grid
from .parameters import decoded, encoded
from .space import Space

TRIES = 2000  # candidates that are drawn until one is new and within bounds
DRAWN = 256  # candidates of which a Gaussian process chooses one
PATIENCE = 600.0  # seconds without a sign of life behind which a worker counts as dead


class Oracle:
    """What all oracles of a search have beyond keras-tuner's own; mixed into them.

    Attributes:
        space: what is searched.
        bounds: what a candidate may cost.
        patience: seconds without a sign of life behind which a worker counts as dead.
    """

    space: Space
    bounds: Bounds
    patience = PATIENCE

    def attach(self, space: Space, bounds: Bounds, max_trials: int | None) -> None:
        """Tells it what keras-tuner's own arguments have no room for, and tries it.

        Raises:
            ValueError: bounds that no candidate keeps, or a space of what cannot be.
        """
        self.space, self.bounds, self.max_trials = space, bounds, max_trials
        self._max_collisions = TRIES
        self._seen: dict[str, float] = {}  # when each running trial was last heard of
        self._asked: dict[str, float] = {}  # when each worker last asked for a trial
        self.verbose = 0
        if self._random_values() is None:
            bounds.count(space.default())  # raises if that cannot be, whatever the bounds
            raise ValueError(f"No candidate of the space keeps the bounds: {bounds}.")
        self._seed_state = self.seed  # as if none had been drawn

    def _admits(self, values: Mapping[str, Any]) -> bool:
        return self.bounds.admits(decoded(values))

    def _duplicate(self, values: Mapping[str, Any]) -> bool:
        """Also what is out of bounds counts as tried, wherever candidates are drawn at random."""
        return super()._duplicate(values) or not self._admits(values)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """As keras-tuner; waits with the end until no other worker can lose a trial any more."""
        self.take_back()
        self._asked[tuner_id] = time.monotonic()
        trial = super().create_trial(tuner_id)
        if trial.status == TrialStatus.STOPPED and self.ongoing_trials:
            trial.status = TrialStatus.IDLE
            self.tuner_ids.add(tuner_id)
        if trial.status == TrialStatus.RUNNING:
            self._seen[trial.trial_id] = time.monotonic()
        return trial

    def get_trial(self, trial_id: str) -> Trial:
        """As keras-tuner; whoever asks for a trial that is running is alive."""
        self._seen[trial_id] = time.monotonic()
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def take_back(self) -> list[str]:
        """Takes trials back from workers that have not been heard of for long, so that others try them again."""
        now, lost = time.monotonic(), []
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if now - self._seen.setdefault(trial.trial_id, now) > self.patience:
                del self.ongoing_trials[tuner_id]
                self.tuner_ids.discard(tuner_id)
                self._retry_queue.append(trial.trial_id)
                lost.append(trial.trial_id)
        for tuner_id in self.tuner_ids - self.ongoing_trials.keys():  # it waits, and asks every second
            if now - self._asked.setdefault(tuner_id, now) > self.patience:
                self.tuner_ids.discard(tuner_id)
        if lost:
            self.save()
        return lost

    def watch(self, every: float = 1.0) -> threading.Thread:
        """Looks for dead workers while nobody asks for a trial, as at the end of a search."""

        def look() -> None:
            while True:
                time.sleep(every)
                self.take_back()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        return thread

    def reload(self) -> None:
        """Goes on with a search. A trial that was running stays its worker's, who may be at it still.

        One that was written down before the state was, when the chief died, nobody has been given. It is chosen again.
        """
        super().reload()
        self.trials = {trial_id: trial for trial_id, trial in self.trials.items() if trial_id in self.start_order}
        self._retry_queue = [trial for trial in self._retry_queue if trial not in self._was_running.values()]
        self.ongoing_trials = {
            tuner_id: self.trials[trial_id]
            for tuner_id, trial_id in self._was_running.items()
            if self.trials[trial_id].status == TrialStatus.RUNNING
        }
        self.tuner_ids |= self.ongoing_trials.keys()  # who will ask for more

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores what was saved."""
        super().set_state(state)
        self._was_running = state["ongoing_trials"]

    def save(self) -> None:
        """Writes the state whole or not at all."""
        saving.write_text(Path(self._get_oracle_fname()), json.dumps(self.get_state()))

    def _save_trial(self, trial: Trial) -> None:
        saving.write_text(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", json.dumps(trial.get_state()))


class RandomSearch(Oracle, keras_tuner.oracles.RandomSearchOracle):
    """Candidates by chance."""


class Hyperband(Oracle, keras_tuner.oracles.HyperbandOracle):
    """Many candidates by chance, short; the better of them longer (Li et al. 2018)."""


class Grid(Oracle, keras_tuner.Oracle):
    """All candidates, the papers' first.

    keras-tuner's own does not save where it is, and steps through what is out of bounds one by one, of which there may
    be millions.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next candidate: each trial so far took one."""
        values = next(itertools.islice(grid(self.space, self.bounds), len(self.trials), None), None)
        if values is None:
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": TrialStatus.RUNNING, "values": {name: encoded(value) for name, value in values.items()}}


class Bayesian(Oracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """The candidate of which a Gaussian process expects most, of many within bounds that are drawn at random.

    keras-tuner's own follows the process downhill instead: out of bounds, and for a minute a trial where there are
    twenty dimensions.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """By chance at first, then by what the process makes of the trials so far."""
        done = [trial for trial in self.trials.values() if trial.status == TrialStatus.COMPLETED]
        few = len(done) < (self.num_initial_points or 3 * len(self._nonfixed_space()))
        drawn = []
        while len(drawn) < (1 if few else DRAWN) and (values := self._random_values()) is not None:
            drawn.append(values)
        if not drawn:
            return {"status": TrialStatus.STOPPED, "values": None}
        best = 0
        if len(drawn) > 1:
            # What it expects of those that are running stands for their scores; at first, it would expect zero.
            self.gpr.fit(
                [self._vector(trial.hyperparameters.values) for trial in done], [trial.score for trial in done]
            )
            self.gpr.fit(*self._vectorize_trials())
            mean, deviation = self.gpr.predict(np.array([self._vector(values) for values in drawn]), return_std=True)
            best = int(np.argmin(mean - self.beta * deviation))
        return {"status": TrialStatus.RUNNING, "values": drawn[best]}

    def _vector(self, values: Mapping[str, Any]) -> list[float]:
        return [hp.value_to_prob(values.get(hp.name, hp.default)) for hp in self._nonfixed_space()]


def first_whole(budget: int) -> int:
    """The number, from 1 on, of Hyperband's first trial of the whole budget, where one comes behind the other.

    It is the only one, or one of a few, in the last round of a bracket, which begins with the smallest budget.
    """
    hyperband = keras_tuner.oracles.HyperbandOracle(max_epochs=budget)
    bracket = hyperband._current_bracket
    return 1 + sum(hyperband._get_size(bracket, number) for number in range(bracket))


ORACLES = {"random": RandomSearch, "grid": Grid, "hyperband": Hyperband, "bayesian": Bayesian}
