"""The array type that crosses between host and device."""

import jax
import numpy as np

type Array = jax.Array | np.ndarray
