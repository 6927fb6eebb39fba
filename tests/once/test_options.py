"""Command-line options and checks are derived from the fields of a dataclass."""

from __future__ import annotations

import dataclasses

import pytest

from keras_resnet.options import (
    Parser,
    add_options,
    check_fields,
    check_types,
    given_fields,
    option,
    to_arguments,
)


@dataclasses.dataclass
class Row:
    hidden: int = 3
    size: int = option(5, "how large")
    rate: float | None = option(None, "how fast, in %")
    kind: str | None = option("a", "which")
    steps: tuple[float, ...] = option((0.5, 0.75), "when")
    range: tuple[int, ...] | None = option(None, "from where to where")
    mirror: bool | None = option(None, "whether")
    color: float = option(0.0, "how colourful")
    flip: bool = option(False, "whether else")


def parse(*words, defaults=True):
    parser = Parser(prog="program")
    add_options(parser, Row, defaults=defaults)
    return given_fields(parser.parse_args(words), Row)


def test_an_option_that_is_not_given_is_absent_from_the_result():
    assert parse() == {}


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("--size 7", {"size": 7}),
        ("--rate 1e-3", {"rate": 0.001}),
        ("--rate -6", {"rate": -6.0}),
        ("--rate none", {"rate": None}),
        ("--kind None", {"kind": None}),
        ("--kind b --size=2", {"kind": "b", "size": 2}),
        ("--steps 0.1,0.2,0.9", {"steps": (0.1, 0.2, 0.9)}),
        ("--range 256,480", {"range": (256, 480)}),
        ("--range none", {"range": None}),
        ("--range=", {"range": ()}),
        ("--mirror", {"mirror": True}),
        ("--no-mirror", {"mirror": False}),
    ],
)
def test_a_value_has_the_type_of_its_field(words, values):
    assert parse(*words.split()) == values


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"rate": -6.5, "kind": None, "mirror": False},
        {"size": 7, "kind": "b", "steps": (0.1, 0.2), "range": None, "mirror": True},
        {"steps": (), "range": ()},
    ],
)
def test_arguments_made_of_values_are_parsed_to_the_same_values(values):
    assert parse(*to_arguments(values)) == values


def test_a_path_after_an_equals_sign_may_begin_at_the_home_folder(monkeypatch, tmp_path):
    """Shells expand "--kind ~/runs" themselves, and not "--kind=~/runs"."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("--kind=~/my runs") == {"kind": f"{tmp_path}/my runs"}
    assert parse("--kind=a~b") == {"kind": "a~b"}


def test_the_help_shows_every_line_and_the_defaults(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--help")
    out = capsys.readouterr().out
    assert caught.value.code == 0
    shown = ("how large [5]", "how fast, in %\n", "which [a]", "X,X", "when [0.5,0.75]", "N,N", "--no-mirror")
    for words in (*shown, "how colourful [0.0]", "whether else\n"):
        assert words in out
    assert "hidden" not in out
    with pytest.raises(SystemExit):
        parse("--help", defaults=False)
    assert "[5]" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("--size x", ("--size", "'x'")),
        ("--size 1.5", ("--size", "'1.5'")),
        ("--steps 1,b", ("--steps", "'1,b'")),
        ("--range 1,2.5", ("--range", "'1,2.5'")),
        ("--hidden 3", ("--hidden",)),
        ("--sizes 3", ("--sizes 3", "did you mean --size?")),
        ("--mirrors=3", ("did you mean --mirror?",)),
        ("--lr 3", ("unrecognized arguments: --lr 3 (see",)),  # not "did you mean --color?"
        ("stray", ("stray",)),
    ],
)
def test_a_mistake_is_reported_in_one_line_that_refers_to_the_help(capsys, words, parts):
    with pytest.raises(SystemExit) as caught:
        parse(*words.split())
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    for part in ("program: error: ", *parts, "see program --help"):
        assert part in err


def test_values_are_checked_against_the_types_of_the_fields():
    check_types(Row, {"size": 1, "rate": 2, "kind": None, "steps": [1, 0.5], "mirror": None})
    for name, value in {"size": 1.0, "rate": True, "kind": 3, "steps": 0.5, "mirror": 1, "hidden": "3"}.items():
        with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {value!r}"):
            check_types(Row, {name: value})
    with pytest.raises(ValueError, match=r"Unknown field 'sise' of a row; did you mean size\?"):
        check_types(Row, {"sise": 1})


@dataclasses.dataclass
class Checked:
    count: int | None = option(None, "how many", at_least=1)
    share: float = option(0.5, "which part", at_least=0, below=1)
    factor: float = option(1.0, "how much", above=0)
    chance: float = option(0.0, "how often", at_least=0, at_most=1)
    sides: tuple[int, ...] | None = option((3,), "how large", at_least=1)
    kind: str = option("a", "which", choices=("a", "b"))
    other: str | None = option(None, "which else", choices=("a", "b"))
    free: float = 1.0


@pytest.mark.parametrize(
    ("field", "value", "requirement"),
    [
        ("count", 0, "at least 1"),
        ("count", 1.5, "an integer or null"),
        ("share", 1, "at least 0 and below 1"),
        ("share", float("nan"), "at least 0 and below 1"),
        ("factor", 0, "a number above 0"),
        ("factor", float("inf"), "a number above 0"),
        ("chance", -0.1, "from 0 to 1"),
        ("sides", (3, 0), "at least 1"),
        ("kind", "c", "one of 'a', 'b'"),
        ("kind", None, "a string"),
        ("other", "c", "one of 'a', 'b'"),
    ],
)
def test_a_value_that_its_field_does_not_accept_is_refused_in_one_line(field, value, requirement):
    with pytest.raises(ValueError) as caught:
        check_fields(Checked(**{field: value}))
    assert str(caught.value).startswith(f"`{field}` must be {requirement}")
    assert str(caught.value).endswith(f". Received: {value!r}")
    check_fields(Checked(**{field: value}), but=[field])


def test_values_that_their_fields_accept_pass():
    check_fields(Checked())
    check_fields(Checked(1, 0, 1e-9, 1, (1, 2), "b", "a", float("inf")))
    check_fields(Checked(sides=None), but=["kind"])
