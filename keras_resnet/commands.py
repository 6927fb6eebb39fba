"""What each command does: calls the package and prints what came out. Returns the exit status."""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

from . import backend
from .analysis.kinds import KINDS, tool
from .analysis.summary import describe, table
from .models.catalog import ARCHITECTURES, find
from .models.spec import Spec
from .options import given
from .training.interruption import TRY_AGAIN, StoppedError
from .training.machine import Machine
from .training.recipe import Recipe
from .training.recipes import recipe_for


def summary(arguments: argparse.Namespace) -> int:
    choices = given(arguments, Spec)
    networks = [find(name) for name in arguments.names] or list(ARCHITECTURES.values())
    rows = [describe(network, choices, arguments.classes, arguments.image_size) for network in networks]
    print(json.dumps(rows, indent=2) if arguments.json else table(rows, markdown=arguments.markdown))
    return 0


def train(arguments: argparse.Namespace) -> int:
    machine = Machine(**given(arguments, Machine))
    recipe = recipe_for(arguments.recipe, **given(arguments, Recipe), network=given(arguments, Spec))
    data_name = Path(recipe.dataset.removeprefix("folder:")).resolve().name
    out = Path(arguments.out or f"runs/{data_name}-{recipe.model}")
    backend.settle(arguments.backend)
    from .training.callbacks import DivergedError
    from .training.folder import RunFolder
    from .training.run import train

    try:
        # Keras tells its progress on stdout, which is the summary's alone if a program reads it.
        with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
            summary = train(recipe, out, lambda line: print(line, file=sys.stderr, flush=True), machine)
    except DivergedError as error:
        kept = RunFolder(out).newest_first()
        print(
            f"keras-resnet: training diverged: {error}. "
            + (f"The last good checkpoint is {kept[0]}. " if kept else "")
            + f"A lower --learning-rate{' and another --out' if kept else ''} often helps.",
            file=sys.stderr,
        )
        return 1
    except StoppedError as error:
        print(f"\nkeras-resnet: {error}. The same command goes on from there.", file=sys.stderr)
        return TRY_AGAIN
    except KeyboardInterrupt:
        print(f"\nkeras-resnet: stopped. The same command goes on from the last checkpoint in {out}.", file=sys.stderr)
        return 130
    if not backend.chief():
        return 0
    split = "validation" if "validation_error" in summary else "test"
    if arguments.json:
        print(json.dumps(summary, indent=2))
        return 0
    command = _as_called()
    probe = summary.get(f"probe_{split}_error")
    probed = "" if probe is None else f"behind the probe before them, {probe:.2f} %\n"
    plain = "plainnet56" if recipe.spec.stem == "cifar" else "plainnet34"
    data = recipe.dataset + (f" --data-dir {recipe.data_dir}" if recipe.data_dir else "")
    print(
        f"\n{recipe.model} on {recipe.dataset}: {summary[f'{split}_error']:.2f} % {split} error after the last of "
        f"{summary['epochs']} epochs ({summary['seconds']:.0f} s, {summary['parameters']:,} parameters)\n"
        f"{probed}\n"
        f"Look at   {out}/curves.png     error, loss and learning rate\n"
        f"          {out}/history.csv    a row an epoch\n"
        f"          {out}/model.keras    the network; it takes raw images\n"
        f"Try       {command} evaluate {out} {data}\n"
        f"          {command} predict {out} IMAGE\n"
        f"          {command} train {data} --model {plain} --epochs {summary['epochs']}    "
        "why depth failed without shortcuts"
    )
    return 0


def _as_called() -> str:
    """What the user types to call this command again: its path where it is not on the shell's."""
    name = "keras-resnet"
    called = Path(sys.argv[0])
    return str(called) if called.name == name and not shutil.which(name) else name


def evaluate(arguments: argparse.Namespace) -> int:
    backend.settle(arguments.backend)
    from .evaluation.evaluate import View, evaluate
    from .evaluation.report import default_folder, write_report

    view = View(crops=arguments.crops, scales=arguments.scales or (), size=arguments.size, resize=arguments.resize)
    found = evaluate(
        arguments.models,
        arguments.dataset,
        arguments.data_dir,
        split=arguments.split,
        view=view,
        batch_size=arguments.batch_size,
        verbose=_verbose(arguments),
    )
    result = found.result
    if arguments.json:
        print(json.dumps(result, indent=2), flush=True)
    else:
        for row in (*result.get("members", ()), result):
            print(f"{row['model']}: {_errors(row)}", flush=True)
        print(_calibration_and_worst(result), flush=True)
    folder = arguments.out or default_folder(arguments.models[0], result)
    files = write_report(found, folder)  # behind the result, which stays told if the folder cannot be written
    if not arguments.json:
        print(f"Look at {folder}/: {', '.join(path.name for path in files)}")
    return 0


def _errors(result: dict[str, Any]) -> str:
    def error(name: str) -> str:
        low, high = result[f"{name}_interval"]
        return f"{result[name]:.2f} % ({low:.2f} to {high:.2f})"

    bad = f"{result['bad']:,} not whole, " if result["bad"] else ""
    speed = result["images_per_second"]
    return (
        f"{result['images']:,} images, {bad}{result['wrong']:,} wrong: top-1 error {error('error')}, "
        f"top-5 error {error('top5_error')}; {speed:,.{0 if speed >= 10 else 1}f} images/s"
    )


def _calibration_and_worst(result: dict[str, Any]) -> str:
    worst = sorted(result["classes"], key=lambda row: row["accuracy"])[:3]
    lines = ["Most often wrong: " + ", ".join(f"{row['name']} {100 - row['accuracy']:.1f} %" for row in worst)]
    if calibration := result["calibration"]:
        lines.append(
            f"Expected calibration error {calibration['expected_calibration_error']:.2f} %, "
            f"negative log-likelihood {calibration['negative_log_likelihood']:.3f}"
        )
    return "\n".join(lines)


def predict(arguments: argparse.Namespace) -> int:
    backend.settle(arguments.backend)
    from .evaluation.prediction import predict
    from .saving import load as load_model

    model, info = load_model(arguments.model)
    results = predict(
        model,
        arguments.source,
        info.get("class_names"),
        arguments.top,
        info.get("view"),
        arguments.explain,
        verbose=_verbose(arguments),
    )
    if arguments.json:
        print(json.dumps(results, indent=2))
    for result in results:
        if "error" in result:
            print(f"keras-resnet: error: {result['error']}", file=sys.stderr)
        elif not arguments.json:
            classes = ", ".join(f"{row['name']} {100 * row['probability']:.1f} %" for row in result["classes"])
            print(f"{result['image']}: {classes}")
    return 2 if any("error" in result for result in results) else 0


def features(arguments: argparse.Namespace) -> int:
    backend.settle(arguments.backend)
    from .evaluation.extraction import extract
    from .saving import load as load_model

    model, info = load_model(arguments.model)
    taps = tuple(arguments.taps.split(","))
    report = extract(model, arguments.source, arguments.out, taps, info.get("view"), verbose=_verbose(arguments))
    for error in report["errors"]:
        print(f"keras-resnet: error: {error}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        lengths = ", ".join(f"{length:,} of {name}" for name, length in report["features"].items())
        print(f"{report['images']:,} images, {lengths}: {report['out']}")
    return 2 if report["errors"] else 0


def _verbose(arguments: argparse.Namespace) -> int:
    """Whether there is someone to watch a progress bar."""
    return int(sys.stderr.isatty() and not arguments.json)


def convert(arguments: argparse.Namespace) -> int:
    backend.settle(arguments.backend)
    from .weights.conversion import convert

    names = arguments.labels
    if names and Path(names).is_file():
        names = Path(names).read_text(encoding="utf-8").splitlines()
    with contextlib.redirect_stdout(sys.stderr):  # on which Keras tells the progress of its downloads
        report = convert(
            arguments.source,
            arguments.out,
            arguments.model,
            to=arguments.to,
            class_labels=names,
            mean=arguments.mean,
            deviation=arguments.deviation,
            **given(arguments, Spec),
        )
    if arguments.json:
        print(json.dumps(report, indent=2))
        return 0
    print(
        f"{report['model']}: {report['tensors']} tensors of {report['source']}, all used, none missing; "
        f"{report['parameters']:,} parameters, {report['classes']:,} classes"
        f"{'' if report['labels'] else ' without names'}"
    )
    known = report["normalization"]
    if known is None:
        takes = "images that are normalised as the weights' author did; nothing is known of that"
    else:
        told = f"subtract {known['mean']}" + (f", divide by {known['deviation']}" if "deviation" in known else "")
        inside = arguments.to == "keras"
        takes = f"raw RGB images of 0 to 255 ({told})" if inside else f"RGB images of 0 to 255, normalised: {told}"
    print(f"{report['out']} takes {takes}")
    return 0


def tune(arguments: argparse.Namespace) -> int:
    engine = backend.settle(arguments.backend)
    from .tuning.report import write_report
    from .tuning.search import Search
    from .tuning.study import study_of

    study = study_of(
        arguments.dataset,
        recipe=arguments.recipe,
        space_name=arguments.space,
        without=arguments.without,
        changes=dict(arguments.set),
        epochs=arguments.epochs,
        validation=arguments.validation,
        images=arguments.images,
        data_dir=arguments.data_dir,
        max_parameters=arguments.max_params,
        max_macs=arguments.max_macs,
        tuner=arguments.tuner,
        max_trials=arguments.max_trials,
        seed=arguments.seed,
        fidelity=arguments.fidelity,
        target_macs=arguments.target_macs,
        stop_early=arguments.stop_early,
    )
    out = Path(arguments.out or f"searches/{Path(study.base.dataset.removeprefix('folder:')).resolve().name}")
    try:
        search = Search(
            study, out, engine, lambda line: print(line, file=sys.stderr, flush=True), patience=arguments.patience
        )
        search.search()
    except StoppedError as error:
        print(f"keras-resnet: {error}. The same command goes on from there.", file=sys.stderr)
        return TRY_AGAIN
    if search.role == "worker":  # the chief reports
        return 0
    best = write_report(out)
    if arguments.json:
        print(json.dumps(best, indent=2))
        return 0
    split = "validation" if study.base.validation else "test"
    print(f"Best: {best['error']:.2f} % {split} error, trial {int(best['trial']) + 1}.")
    print(f"Look at {out}/: leaderboard.html, leaderboard.csv, best_recipe.json, and four pictures")
    return 0


def analyze(arguments: argparse.Namespace) -> int:
    backend.settle(arguments.backend)
    from . import saving
    from .analysis.looking import batches_for, network
    from .data import load

    name, kind, found = arguments.what, KINDS[arguments.what], {}
    look, data, verbose = tool(name), load(arguments.dataset, arguments.data_dir), _verbose(arguments)
    for path in arguments.models:
        model, info = network(path, data, given(arguments, Spec), arguments.seed)
        batches = batches_for(model, info, data, arguments.images or kind.images)
        seed = {"seed": arguments.seed} if kind.random else {}
        found[path] = getattr(look, name)(model, batches, verbose=verbose, **seed)
    if arguments.json:
        print(json.dumps(found, indent=2), flush=True)
    else:
        print("\n".join(f"{path}: {look.in_words(result)}" for path, result in found.items()), flush=True)
    folder = Path(arguments.out) if arguments.out else saving.model_file(arguments.models[0]).parent / "analysis"
    saving.write_json(folder / f"{name}.json", found)
    title = f"{kind.what}, on {arguments.dataset} ({kind.source})"
    saving.write_atomically(folder / f"{name}.png", partial(look.draw, found, title=title))
    if not arguments.json:
        print(f"Look at {folder}/: {name}.json, {name}.png")
    return 0


def reproduce(arguments: argparse.Namespace) -> int:
    from .experiments.budget import Budget
    from .experiments.papers import EXPERIMENTS, find_experiment

    if arguments.list:
        rows = [
            {"name": name, "source": experiment.source, "title": experiment.title, "rows": len(experiment.rows)}
            for name, experiment in EXPERIMENTS.items()
        ]
        lines = [f"{row['name']:22}{row['rows']:3} rows  {row['title']}" for row in rows]
        print(json.dumps(rows, indent=2) if arguments.json else "\n".join(lines))
        return 0
    if arguments.experiment is None:
        raise ValueError("Name an experiment, such as he2016-table2; `keras-resnet reproduce --list` has all.")
    budget = Budget.parse(arguments.budget)
    experiment = find_experiment(arguments.experiment)
    experiment = budget.scale(experiment.only(arguments.only) if arguments.only else experiment)
    backend.settle(arguments.backend)
    from .experiments import estimate
    from .experiments.report import write_report
    from .experiments.runs import carry_out, plan

    out = Path(arguments.out)
    runs = plan(experiment, out, range(arguments.seeds), arguments.data_dir)
    if arguments.dry_run:
        speed = estimate.speed()
        rows = [estimate.costs(run, speed) for run in runs]
        if arguments.json:
            print(json.dumps({"macs_per_second": speed, "scaled": str(budget), "runs": rows}, indent=2))
            return 0
        print(estimate.table(rows))
        left = sum(row["hours"] for row in rows if row["state"] != "done")
        print(
            f"\n{left:,.1f} hours are left, one run after the other, at the {speed / 1e9:,.1f} billion multiply-adds a "
            "second (of forward passes) at which this machine has just trained ResNet-20."
            + (f"\nScaled: {budget}." if budget else "")
        )
        return 0
    try:
        carry_out(
            runs,
            workers=arguments.workers,
            backend=arguments.backend,
            scaled=str(budget),
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except StoppedError as error:
        print(f"keras-resnet: {error}. The same command goes on from there.", file=sys.stderr)
        return TRY_AGAIN
    finally:
        report = write_report(experiment, runs, out, str(budget))
    if arguments.json:
        print(json.dumps(report, indent=2))
        return 0
    name = experiment.name + ("-scaled" if budget else "")
    print((out / f"{name}.md").read_text(encoding="utf-8"))
    print(f"Look at {out}/{name}.html")
    return 0
