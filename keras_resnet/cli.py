"""The `keras-resnet` command: what can be typed. What is done then stands in `commands`."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from . import commands
from .analysis.kinds import KINDS
from .models.spec import Spec
from .options import Parser, add_options, per_channel, positive, whole_numbers
from .training.machine import Machine
from .training.recipe import Recipe
from .training.recipes import STREAM_RECIPES
from .tuning.space import SPACES
from .tuning.study import FIDELITIES, TUNERS
from .version import __version__

DATASET = "digits, cifar10, cifar100, folder:PATH of class folders in train/ and val/, or one of tensorflow-datasets"
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


def _named_values(text: str) -> tuple[str, str]:
    name, equals, values = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"reads NAME=VALUES. Received: {text}")
    return name.strip().replace("-", "_"), values


def _parser() -> Parser:
    parser = Parser(prog="keras-resnet", description="Residual networks of He et al. 2015 and 2016 in Keras 3.")
    parser.add_argument("--version", action="version", version=f"keras-resnet {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], int], what: str, example: str) -> Parser:
        made = subparsers.add_parser(
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
        commands.summary,
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
        commands.train,
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
        commands.evaluate,
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
        commands.predict,
        "Names the most probable classes of an image, of a folder's images, or of a .npy array's.",
        "predict runs/cifar10-resnet20 photo.jpg --top 3",
    )
    predict.add_argument("model", help="a .keras file or a run folder")
    predict.add_argument("source", help="an image, a folder of images, or a .npy file")
    predict.add_argument("--top", type=positive, default=5, metavar="N", help="classes to name [5]")
    predict.add_argument(
        "--explain", metavar="FOLDER", help="where a picture an image goes, of what speaks for its class (Grad-CAM)"
    )
    backend_option(predict)

    features = command(
        "features",
        commands.features,
        "Writes what a network makes of images, a vector each, to an array or a table.",
        "features runs/photos-resnet18 photos/ photos.parquet --taps stage4,pooled",
    )
    features.add_argument("model", help="a .keras file or a run folder")
    features.add_argument("source", help="an image, a folder of images, or a .npy file")
    features.add_argument("out", metavar="OUT", help="the file to write: .npy, .npz or .parquet")
    features.add_argument(
        "--taps", default="pooled", metavar="NAME,NAME", help="stem, stage1, ..., features, pooled, logits [pooled]"
    )
    backend_option(features)

    analyze = command(
        "analyze",
        commands.analyze,
        "Looks into networks, beside one another.",
        "analyze responses runs/cifar10-plainnet56 runs/cifar10-resnet56 cifar10\n\n"
        + "\n".join(f"{name:13}{kind.what} ({kind.source})" for name, kind in KINDS.items()),
    )
    analyze.add_argument("what", choices=KINDS, metavar="WHAT", help=", ".join(KINDS))
    analyze.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a .keras file, a run folder, or the name of a network, to look at it as it begins",
    )
    analyze.add_argument("dataset", metavar="DATASET", help=DATASET)
    analyze.add_argument("--data-dir", metavar="FOLDER", help=_help_of("data_dir"))
    analyze.add_argument(
        "--images",
        type=positive,
        metavar="N",
        help=f"test images to look with [{', '.join(f'{name} {kind.images}' for name, kind in KINDS.items())}]",
    )
    analyze.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of what is drawn at random, named networks among it [0]"
    )
    analyze.add_argument(
        "--out", metavar="FOLDER", help="where numbers and picture go [analysis/ beside the first model]"
    )
    backend_option(analyze)
    add_options(analyze.add_argument_group("what differs from networks that are named"), Spec, defaults=False)

    reproduce = command(
        "reproduce",
        commands.reproduce,
        "Runs a table or a figure of the papers, and holds it against what they print; goes on where it stopped.",
        "reproduce he2015-table6 --out experiments --seeds 3 --budget depth=20,epochs=6,images=10000",
    )
    reproduce.add_argument("experiment", nargs="?", metavar="NAME", help="such as he2016-table2; --list has all")
    reproduce.add_argument("--list", action="store_true", help="name the experiments and end")
    reproduce.add_argument("--out", metavar="FOLDER", default="experiments", help="where all runs go [experiments]")
    reproduce.add_argument("--seeds", type=positive, default=5, metavar="N", help="runs a row; the papers' 5 [5]")
    reproduce.add_argument("--only", action="append", metavar="ROW", help="this row; can be said several times")
    reproduce.add_argument(
        "--budget",
        metavar="NAME=N,...",
        help="smaller runs, marked as such: depth (of the deepest network), epochs, images (to train on)",
    )
    reproduce.add_argument("--workers", type=positive, default=1, metavar="N", help="runs side by side [1]")
    reproduce.add_argument("--dry-run", action="store_true", help="print what would be run, and what it costs")
    reproduce.add_argument("--data-dir", metavar="FOLDER", help=_help_of("data_dir"))
    backend_option(reproduce)

    tune = command(
        "tune",
        commands.tune,
        "Searches depth, width, shortcut and recipe with keras-tuner; run again with the same folder, goes on.",
        "tune digits --tuner hyperband --space shape --set learning_rate=0.01..0.3 --epochs 9",
    )
    tune.add_argument("dataset", help=DATASET)
    tune.add_argument("--out", metavar="FOLDER", help="the search's folder [searches/DATASET]")
    tune.add_argument("--tuner", choices=TUNERS, default="hyperband", help="how trials are chosen [hyperband]")
    tune.add_argument("--max-trials", type=positive, default=20, metavar="N", help="how many at most [20]")
    tune.add_argument("--epochs", type=positive, default=10, metavar="N", help="of a whole trial [10]")
    tune.add_argument("--space", metavar="NAME", default="all", help=f"{', '.join(SPACES)}, or a .toml or .yaml [all]")
    tune.add_argument(
        "--set",
        action="append",
        type=_named_values,
        default=[],
        metavar="NAME=VALUES",
        help="a dimension: NAME=3 fixes it, NAME=1,3,5 is a choice, NAME=0.01..0.4 a range; can be said several times",
    )
    tune.add_argument(
        "--without", action="append", default=[], metavar="NAME", help="a dimension that is left to the recipe"
    )
    tune.add_argument("--recipe", metavar="NAME", help="what trials have in common: a recipe or a recipe.json [paper]")
    tune.add_argument("--max-params", type=positive, metavar="N", help="parameters beyond which nothing is tried")
    tune.add_argument("--max-macs", type=positive, metavar="N", help="multiply-adds beyond which nothing is tried")
    tune.add_argument("--target-macs", type=positive, metavar="N", help="beyond which the error counts for more")
    tune.add_argument(
        "--fidelity", choices=FIDELITIES, default="epochs", help="of what short trials of hyperband have less [epochs]"
    )
    tune.add_argument("--images", type=positive, metavar="N", help=_help_of("images"))
    tune.add_argument(
        "--validation", type=int, metavar="N", help="training images held out, by which trials are judged [a tenth]"
    )
    tune.add_argument(
        "--stop-early",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="stop a trial that is worse than half of the others were [yes]",
    )
    tune.add_argument(
        "--patience",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="on many machines: without a sign of life behind which a worker or the chief counts as dead [600]",
    )
    tune.add_argument("--seed", type=int, default=0, metavar="N", help="of the search [0]")
    tune.add_argument("--data-dir", metavar="FOLDER", help=_help_of("data_dir"))
    backend_option(tune)

    convert = command(
        "convert",
        commands.convert,
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


if __name__ == "__main__":
    sys.exit(main())
