"""The commands, one module each: `add` registers the arguments, `run` calls the package and prints the result.

`run` returns the exit status. None of these modules imports Keras before `run` is called, so that help is fast and the
backend can still be chosen.
"""

from . import analyze, convert, evaluate, export, features, predict, reproduce, summary, train, tune

COMMANDS = (summary, train, evaluate, predict, features, analyze, reproduce, tune, convert, export)
