"""The search: keras-tuner chooses, and each trial is a run of this package in a process of its own.

    search.json                 what the search is
    tuner/oracle.json           keras-tuner's state
    tuner/trial_03/run/         a run folder, as `keras-resnet train` leaves it
    tuner/trial_03/result.json  what the trial came to

The processes of a search on many machines share this folder.
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

from .. import saving
from ..models.spec import Spec
from ..options import as_words
from ..status import Status
from ..training.interruption import StoppedError, StopRequest, stop_request
from ..training.processes import Processes, epochs_done, last_line
from ..training.recipe import Recipe, as_json
from .oracles import ORACLES, PATIENCE
from .parameters import decoded, hyperparameters
from .results import RESULT, TRIALS, Ending, history_file, result_of, results, summary_line, trial_folder
from .study import Study, hopeless
from .workers import PatientClient, alive, check_chief, role


class _Ended(keras_tuner.errors.FatalError):
    """Ends a search from within a trial, which keras-tuner would otherwise take for one that failed."""


class Search(BaseTuner):
    """keras-tuner's loop over trials.

    Args:
        study: what is searched.
        folder: of the search.
        backend: Keras's backend in the trials.
        say: is told a line a trial.
        patience: of many machines: seconds without a sign of life behind which a worker, or the chief, counts as dead.

    Raises:
        ValueError: bounds that no candidate keeps, a folder of another search, or a chief that does not answer. Nothing
            is written before `search`.
    """

    def __init__(
        self,
        study: Study,
        folder: str | Path,
        backend: str | None = None,
        say: Callable[[str], None] = print,
        patience: float = PATIENCE,
    ) -> None:
        self.study, self.folder, self.engine, self.say = study, Path(folder), backend, say
        self.role = role()
        if self.role == "worker":
            check_chief(min(patience, 60))
        self.oracle, self.patience = _oracle(study), patience
        study.check(self.folder, strict=self.role == "worker")
        self._processes, self._stop, self._idle = Processes(1), StopRequest(), False
        self._latencies: dict[Spec, float] = {}

    def search(self) -> None:
        """Runs the trials that are left; a chief has its workers run them.

        Raises:
            StoppedError: the search was asked to stop; the same call goes on from there.
            ValueError: what no trial can get over, such as data that are not there, or another process that searches
                in the same folder.
        """
        with ExitStack() as until_the_end:
            if self.role != "worker":  # whose chief holds the folder
                until_the_end.enter_context(saving.lock(self.folder, "searches in"))
                self.study.begin(self.folder)
                self._warn()
            self._take_up()
            if self.role == "chief":
                self.oracle.watch()
                super().search()  # SIGTERM ends it as it is: all that it knows is written down
                return
            until_the_end.enter_context(self._processes)
            self._stop = until_the_end.enter_context(stop_request())
            try:
                super().search()
            except _Ended as ended:
                raise ended.__cause__ from None

    def _warn(self) -> None:
        most, first = self.study.max_trials, self.study.first_whole
        if most is not None and most < first:
            self.say(
                f"Of {most} trials none will be whole; hyperband's first is number {first} (--max-trials {first})."
            )

    def _take_up(self) -> None:
        """Begins, or goes on from where the search stopped.

        Raises:
            ValueError: the result of a trial is damaged.
        """
        results(self.folder)
        with redirect_stdout(None):  # on which keras-tuner says that it goes on
            super().__init__(self.oracle, directory=str(self.folder), project_name=TRIALS)
        self.oracle.patience = self.patience
        if self.role == "worker":
            self.oracle = PatientClient(self.oracle, self.patience)

    def pre_create_trial(self) -> None:
        """Ends the search between two trials if somebody asked; while there is nothing to do, waits."""
        self._end_if_asked()
        if self._idle:
            time.sleep(1)
        self._idle = True

    def on_trial_begin(self, trial: Trial) -> None:
        """There is something to do."""
        self._idle = False

    def run_trial(self, trial: Trial) -> dict[str, float]:
        """Trains one candidate, and tells keras-tuner what it is worth."""
        values = decoded(trial.hyperparameters.values)
        budget = values.get("tuner/epochs", self.study.budget)
        recipe = self.study.recipe(values, budget)
        folder, cost = trial_folder(self.folder, trial.trial_id), self.study.bounds.cost(values)
        saving.write_json(folder / "recipe.json", as_json(recipe))
        with alive(self.oracle, trial.trial_id, min(30.0, self.patience / 5)) if self.role else nullcontext():
            latency = self._latency(recipe) if self.study.target_latency else None
            came_to = self._train(trial.trial_id, recipe, budget, folder)
        found = {
            "trial": trial.trial_id,
            "values": self.study.space.active(values),
            "parameters": cost.parameters,
            "macs": cost.macs,
            "latency": latency,
            "epochs": recipe.epochs,
            "budget": budget,
            **came_to,
            "score": self.study.score(came_to["error"], cost, latency),
        }
        saving.write_json(folder / RESULT, found)
        return {"score": found["score"]}

    def _latency(self, recipe: Recipe) -> float | None:
        """Milliseconds an image on this machine, measured once a network; None for one that cannot be built here."""
        if recipe.spec not in self._latencies:
            shape, classes = self.study.bounds.image_shape, self.study.bounds.classes
            words = ["summary", recipe.model, *as_words(recipe.network), "--latency", "--json"]
            words += [f"--image-size={shape[0]}", f"--classes={classes}", *self._engine_words]
            status, printed, _ = self._processes.run(words, lambda: self._stop.signal is not None)
            self._end_if_asked()
            if status:
                return None
            (row,) = json.loads(printed)
            self._latencies[recipe.spec] = row["latency"]
        return self._latencies[recipe.spec]

    @property
    def _engine_words(self) -> list[str]:
        return ["--backend", self.engine] if self.engine else []

    def _train(self, trial_id: str, recipe: Recipe, budget: int, folder: Path) -> dict[str, Any]:
        """Trains a trial of a Hyperband budget; returns its "status", "error" and "seconds"."""
        before = results(self.folder)
        others = [history_file(self.folder, other["trial"]) for other in before if other["budget"] == budget]
        history, column = history_file(self.folder, trial_id), f"{'validation' if recipe.validation else 'test'}_error"

        def is_hopeless() -> bool:
            return self.study.stop_early and hopeless(history, others, column, recipe.epochs)

        ended = self._run(f"trial {int(trial_id) + 1}", recipe, folder, is_hopeless)
        self._end_if_asked()
        if ended.refused and all(result["status"] != "done" for result in before):  # no other has done better
            self._end(ValueError(f"Trial {trial_id}: {last_line(ended.told)}"))
        return ended.result(history, column, chance=100.0 * (1 - 1 / self.study.bounds.classes))

    def _run(self, name: str, recipe: Recipe, folder: Path, is_hopeless: Callable[[], bool]) -> Ending:
        """Runs the training of a trial in a process of its own, until it ends, is hopeless or somebody asks to stop."""
        stopped_early = False

        def stop() -> bool:
            """Whether the run is to be stopped, asked every second."""
            nonlocal stopped_early
            bar.n = epochs_done(folder / "run")
            bar.refresh()
            stopped_early = is_hopeless()
            return stopped_early or self._stop.signal is not None

        words = ["train", "--recipe", str(folder / "recipe.json"), "--out", str(folder / "run"), "--json"]
        words += self._engine_words
        hidden = True if self.role else None  # None: where stderr is no terminal
        with tqdm(desc=name, total=recipe.epochs, unit="epoch", leave=False, disable=hidden) as bar:
            status, printed, told = self._processes.run(words, stop)
            if status == Status.HELD:  # its search has died, and it ends what it began
                with bar.external_write_mode():
                    self.say(f"{name}: a run of it still goes on, and is waited for")
            while status == Status.HELD and not self._stop.signal:
                time.sleep(2)
                status, printed, told = self._processes.run(words, stop)
        return Ending(status, printed, told, stopped_early)

    def on_trial_end(self, trial: Trial) -> None:
        """Tells of a trial in a line."""
        super().on_trial_end(trial)
        if trial.status != TrialStatus.COMPLETED:
            self.say(f"trial {trial.trial_id}: {last_line(trial.message or '')}")
            return
        best = min(result["score"] for result in results(self.folder))
        self.say(summary_line(result_of(self.folder, trial.trial_id), best, self.study.max_trials))

    def _end_if_asked(self) -> None:
        if self._stop.signal:
            self._end(StoppedError(f"{self._stop.signal} came, and the search is saved where it was"))

    @staticmethod
    def _end(error: Exception) -> None:
        raise _Ended from error

    def save(self) -> None:
        """Writes the state whole or not at all."""
        if not self._is_worker():
            self.oracle.save()
        saving.write_json(Path(self._get_tuner_fname()), self.get_state())


def _oracle(study: Study) -> Any:
    """The oracle of a study.

    Raises:
        ValueError: bounds that no candidate keeps, or a space of what cannot be.
    """
    own = {
        # Over and over, until there were as many trials as were asked for.
        "hyperband": {"max_epochs": study.budget, "hyperband_iterations": 1 if study.max_trials is None else 1000},
        "bayesian": {"num_initial_points": max(3, (study.max_trials or 60) // 4)},
    }.get(study.tuner, {})
    oracle = ORACLES[study.tuner](
        objective=keras_tuner.Objective("score", "min"),
        hyperparameters=hyperparameters(study.space),
        seed=study.seed + 1,  # keras-tuner takes 0 for none
        allow_new_entries=False,
        tune_new_entries=False,
        **own,
    )
    oracle.attach(study.space, study.bounds, study.max_trials)
    return oracle
