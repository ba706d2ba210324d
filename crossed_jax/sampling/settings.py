"""What is asked of a run, made plain before it begins: it decides the draws and is recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, get_args

import jax

from crossed_jax.arguments import real_number, seed_number, whole_number
from crossed_jax.errors import InputError, told
from crossed_jax.types import ChainMethod


class RunSettings(NamedTuple):
    """How long chains run and how they are tuned, see :mod:`crossed_jax.sampling.chunks`."""

    num_chains: int
    num_warmup: int
    num_draws: int
    seed: int
    target_accept: float
    max_tree_depth: int
    chain_method: ChainMethod

    @property
    def num_steps(self) -> int:
        """Steps of each chain, warm-up included."""
        return self.num_warmup + self.num_draws

    def of_chains(self) -> dict[str, Any]:
        """All but the seed, by name."""
        settings = self._asdict()
        del settings["seed"]
        return settings

    def recorded(self) -> dict[str, Any]:
        """What decides the draws of a step, however many there are to be."""
        lasting = self._asdict()
        del lasting["num_draws"], lasting["chain_method"]
        return lasting


@contextmanager
def own_settings() -> Iterator[None]:
    """Compute in this block with float64 and one kind of keys, whatever the caller's defaults."""
    with jax.enable_x64(True), jax.threefry_partitionable(True):
        yield


def run_settings(
    *,
    num_chains: Any,
    num_warmup: Any,
    num_draws: Any,
    seed: Any,
    target_accept: Any,
    max_tree_depth: Any,
    chain_method: Any,
    report: Any = None,
) -> RunSettings:
    """Give the settings as plain numbers.

    Raises
    ------
    InputError
        If one does not make sense, or `report` cannot be called.
    """
    if chain_method not in (known := get_args(ChainMethod)):
        raise InputError(
            f"unknown chain method {told(chain_method)}: choose one of {', '.join(known)}."
        )
    if report is not None and not callable(report):
        raise InputError(f"report is {told(report)}: give a function of a Progress.")
    rate = real_number("target acceptance rate", target_accept)
    if not 0.0 < rate < 1.0:
        raise InputError(
            f"the target acceptance rate is {rate}: choose one between 0 and 1, 0.8 by default."
        )
    return RunSettings(
        whole_number("number of chains", num_chains, at_least=1),
        whole_number("number of warm-up steps", num_warmup, at_least=1),
        whole_number("number of draws", num_draws, at_least=4),
        seed_number(seed),
        rate,
        whole_number("maximum tree depth", max_tree_depth, at_least=1),
        chain_method,
    )
