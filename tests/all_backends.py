"""Runs all tests on one backend after the other, and prints a summary.

    python tests/all_backends.py [BACKEND ...]

Each backend's tests run in one process per core, up to four. The tests of `data`, which does not use Keras, and those
in folders named `once`, whose results do not depend on the backend, run only once, with those of the first backend:
Torch if it is requested, which compiles and traces nothing. Those of exports run with TensorFlow's tests, if it is
requested, since on the other backends every export starts a TensorFlow process. `tests/across`, which compares the
backends, runs with those of the first if all of them are requested.
Fails if a test fails, if no test runs on a backend, or if a test is skipped although ../shared exists.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

TESTS = Path(__file__).resolve().parent
ONCE = (TESTS / "data", *sorted(TESTS.rglob("once")))
EXPORTS = TESTS / "exporting" / "once"
ACROSS = TESTS / "across"
BACKENDS = ("tensorflow", "jax", "torch")
PARALLEL = ("-n", str(min(4, os.cpu_count() or 1)), "--dist", "loadfile", "--no-loadscope-reorder")
SHARED = TESTS.parents[1] / "shared"
# Hundreds of processes import the package: the first one should store its bytecode.
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


@dataclass
class Outcome:
    backend: str
    passed: int
    failed: int
    skipped: int
    seconds: float

    @property
    def good(self) -> bool:
        return self.passed > 0 and not self.failed and not (self.skipped and SHARED.is_dir())


def run(backend: str, ignored: list[Path]) -> Outcome:
    print(f"\n=== {backend} " + "=" * (74 - len(backend)), flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        status = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-rs", *PARALLEL, f"--junitxml={report}", str(TESTS)),
                *(f"--ignore={path}" for path in ignored),
            ],
            cwd=TESTS.parent,
            env={**ENVIRONMENT, "KERAS_BACKEND": backend},
        ).returncode
        suites = ElementTree.parse(report).getroot().iter("testsuite") if report.exists() else ()
        counts = [
            {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")} for suite in suites
        ]
    total = {key: sum(count[key] for count in counts) for key in ("tests", "failures", "errors", "skipped")}
    failed = total["failures"] + total["errors"]
    return Outcome(
        backend,
        passed=total["tests"] - failed - total["skipped"],
        failed=failed or int(status != 0),
        skipped=total["skipped"],
        seconds=time.monotonic() - start,
    )


def main(backends: list[str]) -> int:
    first = "torch" if "torch" in backends else backends[0]
    runner: dict[Path, str | None] = dict.fromkeys(ONCE, first)
    if "tensorflow" in backends:
        runner[EXPORTS] = "tensorflow"
    runner[ACROSS] = first if set(backends) == set(BACKENDS) else None
    outcomes = [
        run(backend, [folder for folder, its_backend in runner.items() if its_backend != backend])
        for backend in sorted(backends, key=lambda backend: backend != first)
    ]
    print("\n" + "=" * 79)
    for outcome in outcomes:
        verdict = "good" if outcome.good else "BAD"
        print(
            f"{outcome.backend:15}{outcome.passed:5} passed {outcome.failed:4} failed {outcome.skipped:4} skipped "
            f"{outcome.seconds:6.0f} s   {verdict}"
        )
    passed, failed, skipped = (
        sum(getattr(outcome, key) for outcome in outcomes) for key in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(not all(outcome.good for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(BACKENDS)))
