"""The command line: ``crossed-jax demo | simulate | fit | compare | resume | report``.

Exit codes: 0, done and converged; 2, bad input, told in one line on stderr; 3, done, but the
diagnostics say not to trust the result, and why; 130, interrupted.
"""

import gc
import os
import signal
import sys

import typer

from crossed_jax.cli.compare import compare
from crossed_jax.cli.demo import demo
from crossed_jax.cli.fit import fit
from crossed_jax.cli.flags import in_flags
from crossed_jax.cli.interruption import InterruptedRunError
from crossed_jax.cli.messages import complain
from crossed_jax.cli.report import report
from crossed_jax.cli.resume import resume
from crossed_jax.cli.simulate import simulate
from crossed_jax.cli.usage import explain
from crossed_jax.errors import InputError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: quicker, and whole at any width
    help="Fit crossed varying-intercept models: exact, pooled on every factor, without the ridge.",
)
for command in (fit, compare, resume, report, simulate, demo):
    app.command()(command)


def main() -> None:
    """Run the command line and end the process at once."""
    # Importing and tracing make a million objects that stay: to look through them for garbage as
    # often as Python does by default takes a fifth of a small fit's time.
    gc.set_threshold(100_000, 50, 50)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or what was begun would be left
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking the interpreter down module by module takes most of a second


def run() -> int:
    """Run the command line; bad input ends in one line on stderr and exit code 2."""
    arguments = sys.argv[1:] or ["--help"]
    os.environ["MPLBACKEND"] = "agg"  # a notebook's may not be installed here
    try:
        code = app(arguments, prog_name="crossed-jax", standalone_mode=False)
    except typer.TyperException as error:
        complain(explain(error))
        return 2
    except InputError as error:
        complain(in_flags(str(error)))
        return 2
    except InterruptedRunError as stop:
        complain(f"interrupted; {stop}")
        return 130
    except OSError as error:
        what = f"{str(error.filename)!r}" if error.filename else "a file"
        complain(
            f"{what} cannot be used ({error.strerror or error}): name files and directories that "
            "can be read and written."
        )
        return 2
    if code == 130:  # how Typer ends on Ctrl-C
        complain("interrupted.")
    return code or 0
