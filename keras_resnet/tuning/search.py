"""The search: keras-tuner chooses the candidates, and each trial is a run of this package in a process of its own.

    search.json                 everything that decides the search
    tuner/oracle.json           keras-tuner's state
    tuner/trial_03/run/         a run folder, as `keras-resnet train` writes it
    tuner/trial_03/result.json  the result of the trial

All processes of a distributed search share this folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus
from tqdm import tqdm

from ..files import lock, write_json
from ..models.spec import Spec
from ..options import to_arguments
from ..status import Status
from ..training.interruption import StoppedError, StopRequest, stop_request
from ..training.processes import Processes, epochs_done, last_line
from ..training.recipe import Recipe, as_json
from .oracles import ORACLES, PATIENCE
from .parameters import decoded, hyperparameters
from .results import (
    RESULT,
    TRIALS,
    Ending,
    history_file,
    hopeless,
    rank,
    result_of,
    results,
    summary_line,
    trial_folder,
)
from .study import Study
from .workers import SAVED, PatientClient, SearchAborted, heartbeats, role, wait_for_chief


class Search(BaseTuner):
    """keras-tuner's loop over trials. Nothing is written to the folder before `search` is called.

    Args:
        study: what is searched, and how.
        folder: folder of the search.
        backend: Keras backend of the trials; None for the one of the environment.
        say: called with a line of text after each trial.
        patience: in a distributed search, the seconds without contact after which a worker or the chief counts as dead.

    Raises:
        ValueError: no candidate is within the bounds, the folder contains another search, or the chief does not
            answer.
    """

    def __init__(
        self,
        study: Study,
        folder: str | Path,
        backend: str | None = None,
        say: Callable[[str], None] = print,
        patience: float = PATIENCE,
    ) -> None:
        self.study, self.folder, self.say = study, Path(folder), say
        self.role = role()
        if self.role == "worker":
            wait_for_chief(min(patience, 60))
        self.oracle, self.patience = _oracle(study), patience
        study.check(self.folder, strict=self.role == "worker")
        self._processes, self._stop, self._idle = Processes(1, backend), StopRequest(), False
        self._latencies: dict[Spec, float] = {}

    def search(self) -> None:
        """Runs the remaining trials; a chief hands them out to its workers.

        Raises:
            StoppedError: the search was asked to stop; a new `Search` of the same folder resumes it.
            ValueError: an error would affect every trial, such as unavailable data, or another process is searching
                in the same folder.
        """
        with ExitStack() as stack:
            if self.role != "worker":  # the folder of a worker is locked by its chief
                stack.enter_context(lock(self.folder, "searches in"))
                self.study.begin(self.folder)
                self._warn_of_short_trials()
            self._start_or_resume()
            if self.role == "chief":
                self.oracle.watch()
                super().search()  # SIGTERM may kill it at any time: its state is saved after every change
                self._tell_of_exhaustion()
                return
            stack.enter_context(self._processes)
            self._stop = stack.enter_context(stop_request())
            if self.role == "worker":
                self.oracle = PatientClient(self.oracle, self.patience, self._stop)
            try:
                super().search()
            except SearchAborted as aborted:
                raise aborted.__cause__ from None
            if self.role is None:
                self._tell_of_exhaustion()

    def _warn_of_short_trials(self) -> None:
        trials, first = self.study.max_trials, self.study.first_full_trial
        if trials is not None and trials < first:
            self.say(f"No trial will have the full budget; hyperband's first is number {first} (--max-trials {first}).")

    def _tell_of_exhaustion(self) -> None:
        trials, most = len(self.oracle.trials), self.study.max_trials
        if most is not None and trials < most:
            self.say(f"Ended after {trials} of {most} trials, since no other candidate was found within the bounds.")

    def _start_or_resume(self) -> None:
        """Initialises keras-tuner, with the saved state of the search if there is one.

        Raises:
            ValueError: the result of a trial is damaged.
        """
        results(self.folder)
        with redirect_stdout(None):  # keras-tuner prints there that it reloads its state
            super().__init__(self.oracle, directory=str(self.folder), project_name=TRIALS)
        self.oracle.patience = self.patience

    def pre_create_trial(self) -> None:
        """Ends the search between two trials if it was asked to stop; waits if the last request yielded no trial."""
        self._abort_if_asked()
        if self._idle:
            time.sleep(1)
        self._idle = True

    def on_trial_begin(self, trial: Trial) -> None:
        """Records that the last request yielded a trial."""
        self._idle = False

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Trains a candidate, saves its result and returns its score to keras-tuner."""
        values = decoded(trial.hyperparameters.values)
        budget = values.get("tuner/epochs", self.study.budget)
        recipe = self.study.recipe(values, budget)
        folder, cost = trial_folder(self.folder, trial.trial_id), self.study.bounds.check(values)
        write_json(folder / "recipe.json", as_json(recipe))
        with heartbeats(self.oracle, trial.trial_id, min(30.0, self.patience / 5)) if self.role else nullcontext():
            latency = self._latency(recipe) if self.study.target_latency else None
            outcome = self._train(trial.trial_id, recipe, budget, folder)
        result = {
            "trial": trial.trial_id,
            "values": self.study.space.active(values),
            "parameters": cost.parameters,
            "macs": cost.macs,
            "latency": latency,
            "epochs": recipe.epochs,
            "budget": budget,
            **outcome,
            "score": self.study.score(outcome["error"], cost, latency),
        }
        write_json(folder / RESULT, result)
        return {"score": result["score"]}

    def _latency(self, recipe: Recipe) -> float | None:
        """Returns the milliseconds per image on this machine, measured once per network; None if measuring fails."""
        if recipe.spec not in self._latencies:
            shape, classes = self.study.bounds.image_shape, self.study.bounds.classes
            words = ["summary", recipe.model, *to_arguments(recipe.network), "--latency", "--json"]
            words += [f"--image-size={shape[0]}", f"--classes={classes}"]
            status, stdout, _ = self._processes.run(words, lambda: self._stop.signal is not None)
            self._abort_if_asked()
            if status:
                return None
            (row,) = json.loads(stdout)
            self._latencies[recipe.spec] = row["latency"]
        return self._latencies[recipe.spec]

    def _train(self, trial_id: str, recipe: Recipe, budget: int, folder: Path) -> dict[str, Any]:
        """Trains a trial with the given budget; returns its "status", "error" and "seconds"."""
        previous = results(self.folder)
        others = [history_file(self.folder, other["trial"]) for other in previous if other["budget"] == budget]
        history, column = history_file(self.folder, trial_id), f"{recipe.split}_error"

        assert recipe.epochs is not None  # as in every recipe of a study
        epochs = recipe.epochs

        def is_hopeless() -> bool:
            return self.study.stop_early and hopeless(history, others, column, epochs)

        ending = self._run(f"trial {int(trial_id) + 1}", recipe, folder, is_hopeless)
        self._abort_if_asked()
        if ending.refused and all(result["status"] != "done" for result in previous):  # no trial has succeeded
            self._abort(ValueError(f"Trial {int(trial_id) + 1}: {last_line(ending.stderr)}"))
        return ending.result(history, column, chance=100.0 * (1 - 1 / self.study.bounds.classes))

    def _run(self, name: str, recipe: Recipe, folder: Path, is_hopeless: Callable[[], bool]) -> Ending:
        """Trains a trial in a process of its own, until it ends, is hopeless or the search is asked to stop."""
        stopped_early = False

        def stop() -> bool:
            """Whether to stop the run; called every second."""
            nonlocal stopped_early
            bar.n = epochs_done(folder / "run")
            bar.refresh()
            stopped_early = is_hopeless()
            return stopped_early or self._stop.signal is not None

        words = ["train", "--recipe", str(folder / "recipe.json"), "--out", str(folder / "run"), "--json"]
        hidden = True if self.role else None  # None hides the bar where stderr is not a terminal
        with tqdm(desc=name, total=recipe.epochs, unit="epoch", leave=False, disable=hidden) as bar:
            status, stdout, stderr = self._processes.run(words, stop)
            if status == Status.HELD:  # the process of a search that was killed is still training this trial
                with bar.external_write_mode():
                    self.say(f"{name}: waiting for another process that is still training it")
            while status == Status.HELD and not self._stop.signal:
                time.sleep(2)
                status, stdout, stderr = self._processes.run(words, stop)
        return Ending(status, stdout, stderr, stopped_early)

    def on_trial_end(self, trial: Trial) -> None:
        """Reports the trial in a line."""
        super().on_trial_end(trial)
        if trial.status != TrialStatus.COMPLETED:
            self.say(f"trial {int(trial.trial_id) + 1}: {last_line(trial.message or '')}")
            return
        best = min(results(self.folder), key=rank)["score"]
        self.say(summary_line(result_of(self.folder, trial.trial_id), best, self.study.max_trials))

    def _abort_if_asked(self) -> None:
        if self._stop.signal:
            self._abort(StoppedError(f"stopped by {self._stop.signal}; {SAVED}"))

    @staticmethod
    def _abort(error: Exception) -> None:
        raise SearchAborted from error

    def save(self) -> None:
        """Saves the state atomically."""
        if not self._is_worker():
            self.oracle.save()
        write_json(Path(self._get_tuner_fname()), self.get_state())


def _oracle(study: Study) -> Any:
    """Returns the oracle of a study.

    Raises:
        ValueError: no candidate of the space can be built, or none is within the bounds.
    """
    options = {
        # With a number of trials, Hyperband is repeated until it is reached.
        "hyperband": {"max_epochs": study.budget, "hyperband_iterations": 1 if study.max_trials is None else 1000},
        "bayesian": {"num_initial_points": max(3, (study.max_trials or 60) // 4)},
    }.get(study.tuner, {})
    oracle = ORACLES[study.tuner](
        objective=keras_tuner.Objective("score", "min"),
        hyperparameters=hyperparameters(study.space),
        seed=study.seed + 1,  # keras-tuner treats 0 as no seed
        allow_new_entries=False,
        tune_new_entries=False,
        **options,
    )
    oracle.attach(study.space, study.bounds, study.max_trials)
    return oracle
