"""The screen model on real screens.

    python -m benchmarks.screen reference        NumPyro's long run on three small tables, kept
    python -m benchmarks.screen agreement        fits of these tables against it
    python -m benchmarks.screen guide_reference  NumPyro's long run on two tables of guides, kept
    python -m benchmarks.screen guide_agreement  fits of these against it
    python -m benchmarks.screen held_out         prediction of values that were held out
    python -m benchmarks.screen cross_library    interactions from Avana against KY
    python -m benchmarks.screen guide_calls      the same from guides
    python -m benchmarks.screen guide_prediction prediction of guides' values that were held out
    python -m benchmarks.screen guide_extensions what Student-t interactions would add
    python -m benchmarks.screen samples          how sure line effects are, with samples
    python -m benchmarks.screen leave_one_out    leave-one-out of three models, against refits
    python -m benchmarks.screen avana            how long Avana takes, and NumPyro
    python -m benchmarks.screen guide_avana      how long its guides take
    python -m benchmarks.screen nutpie           the same by nutpie, for ten minutes
    python -m benchmarks.screen recovery         what intervals cover of simulated screens
    python -m benchmarks.screen genome           what a gradient costs as the table grows
    python -m benchmarks.screen genome_run       some draws of 18,000 genes x 1,100 lines

Each writes results/screen_*.json.
"""

import argparse
import importlib

from benchmarks.machine import keep

COMMANDS = {  # name: module
    "reference": "agreement",
    "agreement": "agreement",
    "guide_reference": "guide_agreement",
    "guide_agreement": "guide_agreement",
    "held_out": "held_out",
    "cross_library": "cross_library",
    "guide_calls": "guide_calls",
    "guide_prediction": "guide_prediction",
    "guide_extensions": "guide_extensions",
    "samples": "samples",
    "leave_one_out": "leave_one_out",
    "avana": "avana",
    "guide_avana": "avana",
    "nutpie": "nutpie_rows",
    "recovery": "recovery",
    "genome": "genome",
    "genome_run": "genome",
}


def main() -> None:
    """Run what is named, and write what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.screen",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=COMMANDS)
    name = parser.parse_args().name
    module = importlib.import_module(f"benchmarks.screen.{COMMANDS[name]}")
    result = getattr(module, name)()
    keep(f"screen_{name}", result)


if __name__ == "__main__":
    main()
