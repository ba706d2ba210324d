"""``python -m benchmarks run | render | gpu | ladder``."""

import argparse
import signal
import sys

from benchmarks import gpu, ladder, render, run

COMMANDS = {
    "run": (run, "run samplers on problems, gate them on the truth, time them"),
    "render": (render, "write tables and figures from the results"),
    "gpu": (gpu, "many chains on whatever accelerator JAX sees"),
    "ladder": (ladder, "what a collapsed fit costs as the table grows"),
}


def main() -> None:
    """Hand over to a command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, help_text) in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=help_text))
    arguments = parser.parse_args()
    # an end from outside unwinds as an error does, so that no peer is left running
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    COMMANDS[arguments.command][0].main(arguments)


if __name__ == "__main__":
    main()
