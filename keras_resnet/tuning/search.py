"""The search: keras-tuner chooses, and each trial is a run of this package in a process of its own.

    search.json                 what the search is
    tuner/oracle.json           keras-tuner's state
    tuner/trial_03/run/         a run folder, as `keras-resnet train` leaves it
    tuner/trial_03/result.json  what the trial came to

The processes of a search on many machines share this folder.
"""

from __future__ import annotations

import csv
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
from ..host import NO_MEMORY
from ..models.spec import Spec
from ..options import as_words
from ..status import Status
from ..training.interruption import StoppedError, StopRequest, stop_request
from ..training.processes import Processes, epochs_done, last_line
from ..training.recipe import Recipe, as_json
from .oracles import ORACLES, PATIENCE
from .parameters import decoded, hyperparameters
from .study import Study, hopeless
from .workers import PatientClient, alive, check_chief, role

KILLED = (-9, 137)  # what the system does to a process when memory runs out


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
                until_the_end.enter_context(saving.held(self.folder, "searches in"))
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
            super().__init__(self.oracle, directory=str(self.folder), project_name="tuner")
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
        units = values.get("tuner/epochs", self.study.units)
        recipe = self.study.recipe(values, units)
        folder, cost = Path(self.get_trial_dir(trial.trial_id)), self.study.bounds.cost(values)
        saving.write_json(folder / "recipe.json", as_json(recipe))
        with alive(self.oracle, trial.trial_id, min(30.0, self.patience / 5)) if self.role else nullcontext():
            latency = self._latency(recipe) if self.study.target_latency else None
            came_to = self._train(trial.trial_id, recipe, units, folder)
        found = {
            "trial": trial.trial_id,
            "values": self.study.space.active(values),
            "parameters": cost.parameters,
            "macs": cost.macs,
            "latency": latency,
            "epochs": recipe.epochs,
            "units": units,
            **came_to,
            "score": self.study.score(came_to["error"], cost, latency),
        }
        saving.write_json(folder / "result.json", found)
        return {"score": found["score"]}

    def _latency(self, recipe: Recipe) -> float | None:
        """Milliseconds an image on this machine, measured once a network; None for one that cannot be built here."""
        if recipe.spec not in self._latencies:
            shape, classes = self.study.bounds.image_shape, self.study.bounds.classes
            words = ["summary", recipe.model, *as_words(recipe.network), "--latency", "--json"]
            words += [f"--image-size={shape[0]}", f"--classes={classes}", *self._engine_words]
            status, printed, _ = self._processes.run(words, lambda: self._stop.asked is not None)
            self._end_if_asked()
            if status:
                return None
            (row,) = json.loads(printed)
            self._latencies[recipe.spec] = row["latency"]
        return self._latencies[recipe.spec]

    @property
    def _engine_words(self) -> list[str]:
        return ["--backend", self.engine] if self.engine else []

    def _train(self, trial_id: str, recipe: Recipe, units: int, folder: Path) -> dict[str, Any]:
        """Runs a trial of so many of what Hyperband deals out, in a process of its own.

        Returns its "status", "error" and "seconds".
        """
        history, column = folder / "run" / "history.csv", f"{'validation' if recipe.validation else 'test'}_error"
        before = results(self.folder)
        as_long = [result["trial"] for result in before if result["units"] == units]
        others = [Path(self.get_trial_dir(other)) / "run" / "history.csv" for other in as_long]
        stopped_early = False

        def stop() -> bool:
            """Whether the run is to be stopped, asked every second."""
            nonlocal stopped_early
            bar.n = epochs_done(folder / "run")
            bar.refresh()
            stopped_early = self.study.stop_early and hopeless(history, others, column, recipe.epochs)
            return stopped_early or self._stop.asked is not None

        words = ["train", "--recipe", str(folder / "recipe.json"), "--out", str(folder / "run"), "--json"]
        words += self._engine_words
        name, hidden = f"trial {int(trial_id) + 1}", True if self.role else None  # None: where stderr is no terminal
        with tqdm(desc=name, total=recipe.epochs, unit="epoch", leave=False, disable=hidden) as bar:
            status, printed, told = self._processes.run(words, stop)
            if status == Status.HELD:  # its search has died, and it ends what it began
                with bar.external_write_mode():
                    self.say(f"{name}: a run of it still goes on, and is waited for")
            while status == Status.HELD and not self._stop.asked:
                time.sleep(2)
                status, printed, told = self._processes.run(words, stop)
        self._end_if_asked()
        if status == 0:
            summary = json.loads(printed)
            return {"status": "done", "error": summary[column], "seconds": summary["seconds"]}
        if stopped_early:
            *_, last = csv.DictReader(history.read_text(encoding="utf-8").splitlines())
            return {"status": f"stopped behind epoch {last['epoch']}", "error": float(last[column]), "seconds": None}
        refused = status == Status.MISTAKE and not NO_MEMORY.search(told)
        if refused and all(result["status"] != "done" for result in before):
            self._end(ValueError(f"Trial {trial_id}: {last_line(told)}"))  # no other has done better
        lost = status in KILLED or NO_MEMORY.search(told)
        why = "out of memory" if lost else "diverged" if status == Status.DIVERGED else f"failed: {last_line(told)}"
        return {"status": why, "error": self._worst, "seconds": None}

    @property
    def _worst(self) -> float:
        """The error of chance, for a trial that came to nothing: three that failed would end keras-tuner's search."""
        return 100.0 * (1 - 1 / self.study.bounds.classes)

    def on_trial_end(self, trial: Trial) -> None:
        """Tells of a trial in a line."""
        super().on_trial_end(trial)
        if trial.status != TrialStatus.COMPLETED:
            self.say(f"trial {trial.trial_id}: {last_line(trial.message or '')}")
            return
        found = _result(Path(self.get_trial_dir(trial.trial_id)) / "result.json")
        best = min(result["score"] for result in results(self.folder))
        self.say(_line(found, best, self.study.max_trials))

    def _end_if_asked(self) -> None:
        if self._stop.asked:
            self._end(StoppedError(f"{self._stop.asked} came, and the search is saved where it was"))

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
        "hyperband": {"max_epochs": study.units, "hyperband_iterations": 1 if study.max_trials is None else 1000},
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
    if oracle._random_values() is None:
        study.bounds.count(study.space.default())  # raises if that cannot be, whatever the bounds
        raise ValueError(f"No candidate of the space keeps the bounds: {study.bounds}.")
    oracle._seed_state = oracle.seed
    return oracle


def results(folder: str | Path) -> list[dict[str, Any]]:
    """What the trials of a search came to so far, in their order.

    Raises:
        ValueError: a damaged file.
    """
    found = map(_result, Path(folder).glob("tuner/trial_*/result.json"))
    return sorted(found, key=lambda result: int(result["trial"]))


def _result(path: Path) -> dict[str, Any]:
    return saving.read_json(path, "Delete it, and all is as without this trial.")


def _line(found: dict[str, Any], best: float, of: int | None) -> str:
    told = [f"{found['error']:.2f} %" if found["status"] == "done" else f"{found['status']}, {found['error']:.2f} %"]
    told += [", ".join(f"{name} {_shown(value)}" for name, value in found["values"].items())]
    told += [f"{found['parameters']:,} parameters", f"{found['macs'] / 1e6:,.1f}M multiply-adds"]
    told += [] if found["latency"] is None else [f"{found['latency']:.2f} ms"]
    told += [f"epochs {found['epochs']}"] + ([] if found["seconds"] is None else [f"{found['seconds']:.0f} s"])
    number = int(found["trial"]) + 1
    return f"trial {number}{f'/{of}' if of else ''}: {'; '.join(told)} (best {best:.2f})"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
