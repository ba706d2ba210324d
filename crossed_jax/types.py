"""Types that modules share: arrays, and the choices by name that the command line offers too."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # an alias is evaluated late, and the command line's help needs no JAX
    import jax
    import numpy as np

type Array = jax.Array | np.ndarray

ParameterizationName = Literal["auto", "original", "design_matrix", "sum_to_zero", "collapsed"]
ModelName = Literal["additive", "screen"]
NoiseName = Literal["normal", "student_t"]
PriorName = Literal["post", "scaled"]
KeepEffects = Literal["draws", "summary"]
ChainMethod = Literal["auto", "vectorized", "parallel", "sequential"]
LeftOut = Literal["row", "cell"]
