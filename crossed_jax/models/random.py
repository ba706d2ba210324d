"""Standard normal numbers in bulk, on all cores, the same whatever their number."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

BLOCK = 1 << 18


def fill_standard_normal(seed: np.random.SeedSequence, out: np.ndarray) -> np.ndarray:
    """Fill a C-contiguous array with independent standard normal numbers, and return it.

    Each block of numbers has a generator of its own, so the numbers depend on the seed
    and the shape alone.
    """
    flat = out.reshape(-1)
    blocks = [flat[start : start + BLOCK] for start in range(0, len(flat), BLOCK)]

    def fill(block: np.ndarray, seed: np.random.SeedSequence) -> None:
        np.random.Generator(np.random.PCG64(seed)).standard_normal(dtype=block.dtype, out=block)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, blocks, seed.spawn(len(blocks))))
    return out
