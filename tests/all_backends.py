"""Runs all tests on one backend after the other, and prints a summary.

    python tests/all_backends.py [BACKEND ...]

Each backend's tests run in one process per core, up to four. The tests of `data`, which does not use Keras, and those
in folders named `once`, whose results do not depend on the backend, run only once, at the beginning: on Torch if it is
requested, which compiles and traces nothing. Those of exports run with TensorFlow's tests, if it is requested, since on
the other backends every export starts a TensorFlow process. `tests/across`, which compares the backends, runs once if
all of them are requested.
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
    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float

    @property
    def good(self) -> bool:
        return self.passed > 0 and not self.failed and not (self.skipped and SHARED.is_dir())


def run(name: str, backend: str, *arguments: str) -> Outcome:
    print(f"\n=== {name} " + "=" * (74 - len(name)), flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-rs", *PARALLEL, f"--junitxml={report}", *arguments],
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
        name,
        passed=total["tests"] - failed - total["skipped"],
        failed=failed or int(status != 0),
        skipped=total["skipped"],
        seconds=time.monotonic() - start,
    )


def main(backends: list[str]) -> int:
    # `across` has the longest test, at whose end no other core should wait.
    once = [ACROSS] if set(backends) == set(BACKENDS) else []
    once += [folder for folder in ONCE if folder != EXPORTS or "tensorflow" not in backends]
    outcomes = [run("once", "torch" if "torch" in backends else backends[0], *map(str, once))]
    for backend in backends:
        others = [folder for folder in (*ONCE, ACROSS) if folder != EXPORTS or backend != "tensorflow"]
        outcomes.append(run(backend, backend, str(TESTS), *(f"--ignore={folder}" for folder in others)))
    print("\n" + "=" * 79)
    for outcome in outcomes:
        verdict = "good" if outcome.good else "BAD"
        print(
            f"{outcome.name:15}{outcome.passed:5} passed {outcome.failed:4} failed {outcome.skipped:4} skipped "
            f"{outcome.seconds:6.0f} s   {verdict}"
        )
    passed, failed, skipped = (
        sum(getattr(outcome, key) for outcome in outcomes) for key in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(not all(outcome.good for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(BACKENDS)))
