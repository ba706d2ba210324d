"""Drawing what depends on the lines given draws of these, each with a key of its own.

Keys are by chain and number of the draw, so that a longer run keeps what a shorter one has drawn.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from crossed_jax.sampling.kept_programs import kept_program
from crossed_jax.sampling.nuts import KEY_KIND, key_of
from crossed_jax.sampling.settings import RunSettings

OF_GENES, OF_SAMPLES = 2**32 - 2, 2**32 - 3
DRAWS_AT_ONCE = 64
SIDE_BY_SIDE = 8


def each_with_a_key[Draws](
    one: Callable[[jax.Array, Draws], Any],
    key: jax.Array,
    chain: jax.Array,
    number: jax.Array,
    draws: Draws,
) -> Any:
    """Draw something for each of some draws, by their chain and number in it."""
    run_key = jax.random.wrap_key_data(key, impl=KEY_KIND)

    def keyed(arguments: tuple[jax.Array, jax.Array, Draws]) -> Any:
        chain, number, draw = arguments
        return one(jax.random.fold_in(jax.random.fold_in(run_key, chain), number), draw)

    return jax.lax.map(keyed, (chain, number, draws), batch_size=SIDE_BY_SIDE)


def given_all(
    settings: RunSettings,
    draws: Any,
    program: Any,
    static: dict[str, Any],
    rest: tuple,
    like: Any,
    what: int = OF_GENES,
) -> Iterator[Any]:
    """Draw what depends on the lines given all draws of these, some at a time.

    Parameters
    ----------
    settings
        Of the run.
    draws
        A pytree, leading dimensions (chains, draws).
    program, static, rest
        A compiled function of a key, chains and numbers of draws, these draws and the rest.
    like
        A pytree of what it returns.
    what
        Number of what is drawn, folded into the run's key.
    """
    num_chains, num_draws = jax.tree.leaves(draws)[0].shape[:2]
    total = num_chains * num_draws
    flat = jax.tree.map(lambda x: np.asarray(x).reshape(total, *x.shape[2:]), draws)
    key = np.asarray(jax.random.key_data(jax.random.fold_in(key_of(settings.seed), what)))
    for start in range(0, total, DRAWS_AT_ONCE):
        # the last draw again fills the last piece up
        rows = np.minimum(np.arange(start, start + DRAWS_AT_ONCE), total - 1)
        chain, number = (place.astype(np.uint32) for place in np.divmod(rows, num_draws))
        of_rows = jax.tree.map(lambda x, rows=rows: x[rows], flat)
        arguments = (key, chain, number, of_rows, *rest)
        found = kept_program(program, static, arguments, jax.tree.structure(like))(*arguments)
        fresh = min(DRAWS_AT_ONCE, total - start)
        yield jax.tree.map(lambda x, fresh=fresh: np.asarray(x)[:fresh], found)


def spaced[Draws](draws: Draws, number: int) -> Draws:
    """Take evenly spaced draws of all chains, leading dimension (draws,)."""
    flat = jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), draws)
    total = len(jax.tree.leaves(flat)[0])
    rows = np.linspace(0, total - 1, min(number, total)).round().astype(int)
    return jax.tree.map(lambda x: x[rows], flat)
