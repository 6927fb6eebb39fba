"""A search by a chief and two workers survives that one of each is killed; see also `tuning/once/test_workers.py`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

SPACE = {"units_per_stage": "1", "width": "0.25,0.5", "shortcut": "B,C", "learning_rate": "0.02..0.2"}
SEARCH = [
    *("tune", "digits", "--tuner", "random", "--max-trials", "3", "--space", "shape"),
    *(word for name, values in SPACE.items() for word in ("--set", f"{name}={values}")),
    *("--epochs", "4", "--images", "200", "--validation", "100", "--no-stop-early"),
    *("--backend", "torch", "--out", "search"),
]


class Search:
    """The processes of a search, in a folder."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.folder = folder
        self.env = {**os.environ, "KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}

    def start(self, name, patience=30):
        """Starts a process of the search, by its name.

        The workers' patience is longer than a chief takes to start on a busy machine, and determines how often they
        send a heartbeat, here every six seconds.
        """
        log = (self.folder / f"{name}-{time.monotonic_ns()}.log").open("w")
        return subprocess.Popen(
            [sys.executable, "-m", "keras_resnet", *SEARCH, "--patience", str(patience)],
            cwd=self.folder,
            env={**self.env, "KERASTUNER_TUNER_ID": name},
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def logs(self):
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def running(self):
        """Returns the current trial of each worker, according to the chief's state."""
        state = self.folder / "search" / "tuner" / "oracle.json"
        return json.loads(state.read_text())["ongoing_trials"] if state.is_file() else {}

    def results(self):
        return {
            path.parent.name: json.loads(path.read_text()) for path in self.folder.glob("search/tuner/*/result.json")
        }

    def wait_for(self, condition, seconds=240):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)


def test_a_worker_and_the_chief_are_killed_and_no_trial_is_lost(tmp_path):
    search = Search(tmp_path)
    chief, survivor, victim = (search.start(name) for name in ("chief", "worker0", "worker1"))
    try:
        search.wait_for(lambda: "worker1" in search.running())
        lost = search.running()["worker1"]
        history = tmp_path / "search" / "tuner" / f"trial_{lost}" / "run" / "history.csv"
        search.wait_for(history.is_file)  # in the middle of a trial
        victim.kill()
        search.wait_for(search.results)
        chief.kill()
        chief.wait()
        finished = search.results()
        chief = search.start("chief", patience=15)  # until it gives the lost trial to the survivor
        search.wait_for(lambda: chief.poll() is not None)
        search.wait_for(lambda: survivor.poll() is not None)
        assert chief.returncode == survivor.returncode == 0, search.logs()
        results = search.results()
        assert sorted(results) == ["trial_0", "trial_1", "trial_2"], search.logs()
        assert {result["status"] for result in results.values()} == {"done"}
        assert finished.items() <= results.items()  # finished trials were not run again
        assert (tmp_path / "search" / "leaderboard.html").is_file()
    finally:
        for process in (chief, survivor, victim):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
