"""What can be typed, a module a command: `add` registers its arguments, `run` calls the package and prints the result.

`run` returns the exit status. None of these modules imports Keras before it runs, so that help is quick and the backend
can be chosen.
"""

from . import analyze, convert, evaluate, export, features, predict, reproduce, summary, train, tune

COMMANDS = (summary, train, evaluate, predict, features, analyze, reproduce, tune, convert, export)
