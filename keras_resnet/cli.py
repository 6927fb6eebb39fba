"""The `keras-resnet` command: parses, calls, prints."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import backend
from .analysis.summary import describe, table
from .models.catalog import ARCHITECTURES, find
from .models.spec import Spec
from .options import Parser, add_options, given, per_channel, positive, whole_numbers
from .training.machine import Machine
from .training.recipe import Recipe
from .training.recipes import STREAM_RECIPES, recipe_for
from .version import __version__

DATASET = "digits, cifar10, cifar100, folder:PATH of class folders in train/ and val/, or one of tensorflow-datasets"
TRY_AGAIN = 75  # EX_TEMPFAIL: what schedulers take for "start it again"
PACKAGE = Path(__file__).resolve().parent


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        0; 1 when a run diverged; 2 after a mistake of the user's, told in one line; 75 when a run was asked to stop and
        goes on if it is started again; 130 when interrupted.
    """
    arguments = _parser().parse_args(argv)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        if not _on_purpose(error):
            raise
        # Of several processes each says it: launchers end all when one ends, perhaps before the chief has spoken.
        print(f"keras-resnet: error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print("\nkeras-resnet: stopped", file=sys.stderr)
        return 130


def _on_purpose(error: BaseException) -> bool:
    """Whether this package or the file system raised the error; any other is a bug, whose traceback is wanted."""
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    return isinstance(error, OSError) or Path(raised_in).is_relative_to(PACKAGE)


def _parser() -> Parser:
    parser = Parser(prog="keras-resnet", description="Residual networks of He et al. 2015 and 2016 in Keras 3.")
    parser.add_argument("--version", action="version", version=f"keras-resnet {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], what: str, example: str) -> Parser:
        made = commands.add_parser(
            name,
            help=what,
            description=what,
            epilog=f"example: keras-resnet {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        made.add_argument("--json", action="store_true", help="print JSON")
        return made

    def backend_option(made: Parser) -> None:
        made.add_argument(
            "--backend", metavar="NAME", help="tensorflow, jax or torch [KERAS_BACKEND, else the first installed]"
        )

    network = "what differs from the named network"
    summary = command(
        "summary",
        _summary,
        "Parameters, multiply-adds and layers of every network, or of some, beside what the papers print.",
        "summary resnet34 --shortcut C",
    )
    summary.add_argument("names", nargs="*", metavar="NAME", help="networks, such as resnet50; all if none is named")
    summary.add_argument(
        "--classes", type=positive, metavar="N", help="classes [10 for CIFAR nets, 1000 for ImageNet's]"
    )
    summary.add_argument(
        "--image-size", type=positive, metavar="N", help="pixels [32 for CIFAR nets, 224 for ImageNet's]"
    )
    summary.add_argument("--markdown", action="store_true", help="print a Markdown table")
    add_options(summary.add_argument_group(network), Spec, defaults=False)

    train = command(
        "train",
        _train,
        "Trains a network; run again with the same folder, goes on where it stopped.",
        "train cifar10 --model resnet56 --shortcut A --out runs/resnet56",
    )
    train.add_argument("dataset", nargs="?", help=f"{DATASET} [the one in --recipe's file]")
    train.add_argument("--out", metavar="FOLDER", help="the run's folder [runs/DATASET-MODEL]")
    train.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"{', '.join(STREAM_RECIPES)}, or a recipe.json [finetune with --weights, else paper]",
    )
    backend_option(train)
    add_options(train.add_argument_group("the recipe"), Recipe)
    add_options(train.add_argument_group(network), Spec, defaults=False)
    add_options(train.add_argument_group("the machine, on which the result does not depend"), Machine)

    evaluate = command(
        "evaluate",
        _evaluate,
        "Tests a network on a data set, or several as one ensemble: every image once, by one view or the papers' many.",
        "evaluate runs/photos-resnet18 folder:photos --crops 10",
    )
    evaluate.add_argument("models", nargs="+", metavar="MODEL", help="a .keras file or a run folder")
    evaluate.add_argument("dataset", metavar="DATASET", help=DATASET)
    evaluate.add_argument("--data-dir", metavar="FOLDER", help=_help_of("data_dir"))
    evaluate.add_argument("--split", choices=("test", "train"), default="test", help="which images [test]")
    evaluate.add_argument(
        "--crops",
        type=int,
        choices=(1, 10),
        default=1,
        help="photographs: the centre, or the four corners and the centre, mirrored too [1]",
    )
    evaluate.add_argument(
        "--scales",
        type=whole_numbers,
        metavar="N,N",
        help="photographs: whole, at these shorter sides, mirrored too; the papers' 224,256,384,480,640",
    )
    for name, what in (("size", "side of the crops"), ("resize", "shorter side of the image they are cut from")):
        evaluate.add_argument(
            f"--{name}", type=positive, metavar="N", help=f"photographs: {what} [what the network was trained for]"
        )
    evaluate.add_argument(
        "--batch-size", type=positive, metavar="N", help="images at a time [500; 50 photographs of 224x224]"
    )
    evaluate.add_argument(
        "--out", metavar="FOLDER", help="where the report and its pictures go [evaluation/ beside the first model]"
    )
    backend_option(evaluate)

    predict = command(
        "predict",
        _predict,
        "Names the most probable classes of an image, of a folder's images, or of a .npy array's.",
        "predict runs/cifar10-resnet20 photo.jpg --top 3",
    )
    predict.add_argument("model", help="a .keras file or a run folder")
    predict.add_argument("source", help="an image, a folder of images, or a .npy file")
    predict.add_argument("--top", type=positive, default=5, metavar="N", help="classes to name [5]")
    backend_option(predict)

    convert = command(
        "convert",
        _convert,
        "Converts weights from keras.applications, the Hugging Face hub, torchvision or timm; or to torchvision.",
        "convert hf://timm/resnet18.a1_in1k resnet18.keras --model resnet18",
    )
    convert.add_argument(
        "source",
        help="imagenet, hf://OWNER/NAME, a run folder, or a .keras, .weights.h5, .safetensors, .pth, .th, .bin file",
    )
    convert.add_argument(
        "out", metavar="OUT", help="the file to write: .keras; with --to torchvision .pth, .safetensors"
    )
    convert.add_argument("--model", metavar="NAME", help="the network, such as resnet50 [the one that SOURCE names]")
    convert.add_argument("--to", choices=("keras", "torchvision"), default="keras", help="what OUT is for [keras]")
    convert.add_argument(
        "--labels", metavar="NAME", help="the classes: imagenet, cifar10, cifar100, or a text file with a name a line"
    )
    for name in ("mean", "deviation"):
        convert.add_argument(
            f"--{name}",
            type=per_channel,
            metavar="R,G,B",
            help=f"{name} of the images trained on, from 0 to 1 [what SOURCE says, else ImageNet's for torch's files]",
        )
    backend_option(convert)
    add_options(convert.add_argument_group(network), Spec, defaults=False)
    return parser


def _help_of(field: str) -> str:
    return Recipe.__dataclass_fields__[field].metadata["help"]


def _summary(arguments: argparse.Namespace) -> int:
    choices = given(arguments, Spec)
    networks = [find(name) for name in arguments.names] or list(ARCHITECTURES.values())
    rows = [describe(network, choices, arguments.classes, arguments.image_size) for network in networks]
    print(json.dumps(rows, indent=2) if arguments.json else table(rows, markdown=arguments.markdown))
    return 0


def _train(arguments: argparse.Namespace) -> int:
    machine = Machine(**given(arguments, Machine))
    recipe = recipe_for(arguments.recipe, **given(arguments, Recipe), network=given(arguments, Spec))
    data_name = Path(recipe.dataset.removeprefix("folder:")).resolve().name
    out = Path(arguments.out or f"runs/{data_name}-{recipe.model}")
    backend.settle(arguments.backend)
    from .training.callbacks import DivergedError
    from .training.folder import RunFolder
    from .training.interruption import StoppedError
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
    plain = "plainnet56" if recipe.spec.stem == "cifar" else "plainnet34"
    data = recipe.dataset + (f" --data-dir {recipe.data_dir}" if recipe.data_dir else "")
    print(
        f"\n{recipe.model} on {recipe.dataset}: {summary[f'{split}_error']:.2f} % {split} error after the last of "
        f"{summary['epochs']} epochs ({summary['seconds']:.0f} s, {summary['parameters']:,} parameters)\n\n"
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


def _evaluate(arguments: argparse.Namespace) -> int:
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
        verbose=int(sys.stderr.isatty() and not arguments.json),
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
    return (
        f"{result['images']:,} images, {bad}{result['wrong']:,} wrong: top-1 error {error('error')}, "
        f"top-5 error {error('top5_error')}; {result['images_per_second']:,.0f} images/s"
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


def _predict(arguments: argparse.Namespace) -> int:
    backend.settle(arguments.backend)
    from .evaluation.prediction import predict
    from .saving import load as load_model

    model, info = load_model(arguments.model)
    results = predict(model, arguments.source, info.get("class_names"), arguments.top, info.get("view"))
    if arguments.json:
        print(json.dumps(results, indent=2))
    for result in results:
        if "error" in result:
            print(f"keras-resnet: error: {result['error']}", file=sys.stderr)
        elif not arguments.json:
            classes = ", ".join(f"{row['name']} {100 * row['probability']:.1f} %" for row in result["classes"])
            print(f"{result['image']}: {classes}")
    return 2 if any("error" in result for result in results) else 0


def _convert(arguments: argparse.Namespace) -> int:
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


if __name__ == "__main__":
    sys.exit(main())
