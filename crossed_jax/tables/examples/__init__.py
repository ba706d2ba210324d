"""A small real table: the penicillin assay of Davies and Goldsmith (1972).

Six samples of penicillin were each tested on 24 agar plates; the response is the diameter, in
millimetres, of the zone in which the organism did not grow. Every sample was tested once on every
plate. It is the crossed example of Bates, *lme4: Mixed-effects modeling with R*, chapter 2.
"""

from pathlib import Path

from crossed_jax.tables.crossed_data import CrossedData
from crossed_jax.tables.read import read_table

PENICILLIN = Path(__file__).with_name("penicillin.csv")


def penicillin() -> CrossedData:
    """Read the penicillin assay: 144 diameters in mm, 24 plates crossed with 6 samples."""
    return read_table(PENICILLIN, response="diameter", factors=("plate", "sample"))
