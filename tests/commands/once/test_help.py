"""Help texts of the command, and command lines in the guides."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from keras_resnet import Spec, cli
from keras_resnet.options import given_fields
from keras_resnet.training.recipe import Recipe
from keras_resnet.training.recipes import recipe_for

COMMANDS = ("summary", "train", "evaluate", "predict", "features", "convert", "analyze", "reproduce", "tune", "export")


def test_help_needs_no_keras_and_ends_with_an_example_that_works():
    program = """
import sys
sys.modules["keras"] = None
from keras_resnet.cli import main
for name in sys.argv[1:]:
    try:
        main([name, "--help"])
    except SystemExit as end:
        assert end.code == 0
"""
    done = subprocess.run([sys.executable, "-c", program, *COMMANDS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    examples = [line for line in done.stdout.splitlines() if line.startswith("example: ")]
    assert len(examples) == len(COMMANDS)
    for name, example in zip(COMMANDS, examples, strict=True):
        program, *words = shlex.split(example.removeprefix("example: "))
        assert (program, words[0]) == ("keras-resnet", name)
        arguments = cli._parser().parse_args(words)
        if name == "train":
            recipe = recipe_for(
                arguments.recipe, **given_fields(arguments, Recipe), network=given_fields(arguments, Spec)
            )
            assert (recipe.model, recipe.spec.shortcut) == ("resnet56", "A")
    assert "usage: keras-resnet train" in done.stdout


def test_help_and_guide_explain_each_exit_status(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    statuses = dict(re.findall(r"^ +(\d+)  (.+)$", capsys.readouterr().out, re.MULTILINE))
    assert statuses.keys() == {"0", "2", "3", "4", "75", "130"}
    guide = (Path(__file__).resolve().parents[3] / "README.md").read_text()
    assert dict(re.findall(r"^\| (\d+) \| (.+) \|$", guide, re.MULTILINE)) == statuses


def test_every_command_line_in_the_guides_is_valid():
    root = Path(__file__).resolve().parents[3]
    lines = [
        line.partition("keras-resnet ")[2]
        for guide in (root / "README.md", root / "tuning" / "README.md", *(root / "docs").glob("*.md"))
        for block in re.findall(r"```sh\n(.*?)```|((?:^    .*\n)+)", guide.read_text(), re.DOTALL | re.MULTILINE)
        for line in "".join(block).replace("\\\n", " ").splitlines()
        if re.match(r"\s*(torchrun .*)?keras-resnet ", line)
    ]
    assert len(lines) > 30
    for line in lines:
        words = shlex.split(line, comments=True)
        if "..." not in words:
            assert cli._parser().parse_args(words), line


def test_a_program_in_the_guide_trains_what_the_command_does(command, monkeypatch):
    received = []

    def train(recipe, out, *_):
        received.append((recipe, str(out)))
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_resnet.training.run.train", train)
    guide = (Path(__file__).resolve().parents[3] / "docs/training.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (line,) = re.findall(r"What `keras-resnet (train .*?)` does", guide)
    with pytest.raises(KeyboardInterrupt):
        exec(program)
    assert command(line)[0] == 130
    in_python, in_shell = received
    assert in_python == in_shell


def test_an_option_of_several_commands_is_described_in_the_same_words(capsys):
    described = []
    for command in ("train", "evaluate", "analyze", "reproduce", "tune", "export"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        text = " ".join(capsys.readouterr().out.partition("options:")[2].split())
        described += re.findall(r"--data-dir .*?\]", text)
    expected = "--data-dir FOLDER folder of prepared tensorflow-datasets data sets [its own folder]"
    assert described == 6 * [expected]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_marks_defaults_in_one_way(capsys, command):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert "default:" not in capsys.readouterr().out
