"""The scripts that start a search: what each process receives, and how they end."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from keras_resnet import cli
from keras_resnet.training.processes import SHARED_GPU

TUNING = Path(__file__).resolve().parents[3] / "tuning"
# Replaces Python: logs what a process of the search receives, and exits with the status that a variable gives.
STUB = """#!/usr/bin/env bash
if [[ $1 == -c ]]; then exec "$REAL" "$@"; fi
memory="${XLA_PYTHON_CLIENT_PREALLOCATE-} ${TF_FORCE_GPU_ALLOW_GROWTH-}"
echo "$KERASTUNER_TUNER_ID|${CUDA_VISIBLE_DEVICES-}|$memory|$*" >> "$LOG"
if [[ $KERASTUNER_TUNER_ID == chief ]]; then
    if [[ -n ${CHIEF-} ]]; then exit "$CHIEF"; fi
    exec sleep 60
fi
exit "${!KERASTUNER_TUNER_ID}"
"""


@pytest.fixture
def search(tmp_path):
    """Runs `distributed.sh`; returns its status, its stderr, and what each process received."""
    (stub := tmp_path / "python").write_text(STUB)
    stub.chmod(0o755)

    def run(workers, gpus, **ends):
        log = tmp_path / "log"
        names = {"PYTHON": stub, "REAL": sys.executable, "LOG": log, "CUDA_VISIBLE_DEVICES": gpus, **ends}
        inherited = {name: value for name, value in os.environ.items() if name not in SHARED_GPU}  # backends set these
        done = subprocess.run(
            [TUNING / "distributed.sh", str(workers), "digits", "--epochs", "1"],
            env={**inherited, **{name: str(value) for name, value in names.items()}},
            capture_output=True,
            text=True,
            timeout=50,
        )
        given = dict(line.split("|", 1) for line in log.read_text().splitlines())
        return done.returncode, done.stderr, given

    return run


def test_gpus_are_assigned_in_turn_and_workers_that_share_one_share_its_memory(search):
    status, _, given = search(3, "0,2", CHIEF=0, worker0=0, worker1=0, worker2=0)
    words = "-m keras_resnet tune digits --epochs 1"
    assert status == 0
    assert given == {
        "chief": f"0,2| |{words}",
        "worker0": f"0|false true|{words}",
        "worker1": f"2|false true|{words}",
        "worker2": f"0|false true|{words}",
    }


def test_a_worker_with_its_own_gpu_uses_all_of_it(search):
    _, _, given = search(2, "0,2", CHIEF=0, worker0=0, worker1=0)
    assert [given[f"worker{number}"].split("|")[:2] for number in (0, 1)] == [["0", " "], ["2", " "]]


def test_without_gpus_workers_share_no_memory_of_one(search):
    """-1 hides all GPUs."""
    _, _, given = search(2, "-1", CHIEF=0, worker0=0, worker1=0)
    assert [given[f"worker{number}"].split("|")[:2] for number in (0, 1)] == [["-1", " "], ["-1", " "]]


def test_the_search_ends_with_the_status_of_its_chief_or_of_a_worker_if_all_have_failed(search):
    assert search(2, "", CHIEF=5, worker0=3, worker1=0)[0] == 5
    status, stderr, given = search(2, "", worker0=3, worker1=3)
    assert status == 3 and "every worker has ended with an error" in stderr and "chief" in given


def test_a_search_that_is_asked_to_end_ends_after_its_workers_have_saved_their_trials(tmp_path):
    """As the first process of a container, with which all others end."""
    (log := tmp_path / "log").touch()
    (stub := tmp_path / "python").write_text(
        '#!/usr/bin/env bash\nif [[ $1 == -c ]]; then exec "$REAL" "$@"; fi\n'
        "trap 'sleep 0.5; echo $KERASTUNER_TUNER_ID saved >> \"$LOG\"; exit 75' TERM\n"
        'echo began >> "$LOG"; while true; do sleep 0.05; done\n'
    )
    stub.chmod(0o755)
    names = {"PYTHON": str(stub), "REAL": sys.executable, "LOG": str(log), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.Popen([TUNING / "distributed.sh", "2", "digits"], env={**os.environ, **names})
    deadline = time.monotonic() + 30
    while log.read_text().count("began") < 3 and time.monotonic() < deadline:  # a chief and two workers
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=20) == 75
    assert {"worker0 saved", "worker1 saved"} <= set(log.read_text().splitlines())


def test_without_a_number_of_workers_the_usage_is_printed(tmp_path):
    for words in ([], ["digits", "--epochs"], ["0", "digits"]):
        done = subprocess.run([TUNING / "distributed.sh", *words], capture_output=True, text=True)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "WORKERS DATASET" in done.stderr


def test_the_projects_own_environment_is_used_if_none_is_active(tmp_path):
    (script := tmp_path / "tuning" / "distributed.sh").parent.mkdir()
    script.write_bytes((TUNING / script.name).read_bytes())
    installed, active = tmp_path / ".venv/bin/python", tmp_path / "active/python3"
    for stub in (installed, active):
        stub.parent.mkdir(parents=True)
        stub.write_text(STUB.replace("$LOG", f"{stub}.log"))
    for program in (script, installed, active):
        program.chmod(0o755)
    base = {"PATH": f"{active.parent}:{os.environ['PATH']}", "REAL": sys.executable, "CUDA_VISIBLE_DEVICES": "0"}
    base |= {"CHIEF": "0", "worker0": "0"}
    for environment in ({}, {"VIRTUAL_ENV": str(active.parent)}):
        assert not Path(f"{active}.log").exists()
        subprocess.run([script, "1", "digits"], env={**base, **environment}, check=True, timeout=50)
    for stub in (installed, active):
        assert Path(f"{stub}.log").read_text().count("tune digits") == 2  # a chief and a worker


def test_scripts_are_valid_bash():
    for name in ("distributed.sh", "slurm.sh"):
        subprocess.run(["bash", "-n", TUNING / name], check=True)


@pytest.fixture
def job(tmp_path):
    """Runs `slurm.sh` as a job of two tasks; returns its status and what each process of the search received."""
    programs = {
        "hostname": "if [[ $# == 0 ]]; then echo node7; else echo 127.0.1.1; fi",  # as Debian sets up a machine
        "srun": 'shift; SLURM_PROCID=0 "$@" && SLURM_PROCID=1 "$@"',
        "keras-resnet": 'address="$KERASTUNER_ORACLE_IP:$KERASTUNER_ORACLE_PORT"\n'
        'echo "$KERASTUNER_TUNER_ID $address $SRUN_CPUS_PER_TASK $*" >> "$LOG"; exit "${!KERASTUNER_TUNER_ID}"',
    }
    for name, program in programs.items():
        (stub := tmp_path / name).write_text(f"#!/usr/bin/env bash\n{program}\n")
        stub.chmod(0o755)

    def run(**ends):
        names = {"SLURM_JOB_ID": "40007", "SLURM_CPUS_PER_TASK": "4", "LOG": str(tmp_path / "log"), **ends}
        environment = {**os.environ, **names, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run([TUNING / "slurm.sh", "digits", "--epochs", "1"], env=environment, timeout=50)
        return done.returncode, sorted((tmp_path / "log").read_text().splitlines())

    return run


def test_under_slurm_workers_find_the_chief_from_any_machine_and_have_all_cores_of_their_task(job):
    """The address that a machine has for its own name may be one that only itself can reach."""
    status, given = job(chief="0", worker0="0", worker1="0")
    words = "4 tune digits --epochs 1"
    assert (status, given) == (
        0,
        [f"chief 0.0.0.0:20007 {words}", f"worker0 node7:20007 {words}", f"worker1 node7:20007 {words}"],
    )


def test_under_slurm_the_search_ends_with_the_status_of_its_chief(job):
    assert job(chief="5", worker0="0", worker1="0")[0] == 5
    assert job(chief="5", worker0="0", worker1="3")[0] == 5  # the others may have ended the search


def test_the_commands_for_kubernetes_are_valid_and_have_a_folder_for_their_data(tmp_path):
    """The containers' commands, in the environment of their config map, with a program that prints its arguments."""
    config_map, _, *jobs = yaml.safe_load_all((TUNING / "kubernetes.yaml").read_text())
    (stub := tmp_path / "keras-resnet").write_text('#!/bin/sh\necho "$KERASTUNER_TUNER_ID" "$@"\n')
    stub.chmod(0o755)
    roles = []
    for job in jobs:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        data = tmp_path / job["metadata"]["name"]
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        names = {**config_map["data"], **variables, "DATA": str(data), "JOB_COMPLETION_INDEX": "3"}
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = subprocess.run(container["command"], env={**names, "PATH": path}, capture_output=True, check=True)
        name, *words = shlex.split(done.stdout.decode())
        arguments = cli._parser().parse_args(words)
        assert (arguments.dataset, arguments.tuner, arguments.data_dir) == ("cifar10", "hyperband", str(data))
        assert data.is_dir()
        roles.append(name)
    assert roles == ["chief", "worker3"]


@pytest.mark.parametrize(
    "words",
    [["digits", "--epochs", "1"], ["--epochs", "1", "--dataset", "digits"], ["--dataset", "digits", "--epochs", "1"]],
)
def test_the_data_set_may_be_an_argument_or_an_option(monkeypatch, words):
    given = []
    monkeypatch.setattr(cli, "main", lambda argv: given.append(argv) or 0)
    monkeypatch.setattr(sys, "argv", ["search.py", *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TUNING / "search.py"), run_name="__main__")
    assert end.value.code == 0
    assert given == [["tune", "digits", "--epochs", "1"]]


def test_a_report_without_a_search_is_refused_in_one_line(tmp_path, capsys):
    report = runpy.run_path(str(TUNING / "report.py"))["main"]
    with pytest.raises(SystemExit) as end:
        report([])
    assert end.value.code == report([str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_a_report_has_a_help(capsys):
    report = runpy.run_path(str(TUNING / "report.py"))["main"]
    with pytest.raises(SystemExit) as end:
        report(["--help"])
    assert end.value.code == 0
    assert "searches/digits" in capsys.readouterr().out


def test_a_report_needs_no_tensorflow(tmp_path):
    """Without a configured backend, Keras itself would choose TensorFlow."""
    program = (
        "import runpy, sys; sys.modules['tensorflow'] = None; sys.argv = ['report.py', sys.argv[2]]; "
        f"runpy.run_path({str(TUNING / 'report.py')!r}, run_name='__main__')"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", program, "", tmp_path], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "contains no search.json" in done.stderr
