"""What was asked of ``fit``: a checkpoint keeps it, and ``resume`` goes by it."""

from pathlib import Path
from typing import Any, NamedTuple, get_origin, get_type_hints


class Command(NamedTuple):
    """The flags of ``fit``, in plain values that fit into JSON."""

    table: str
    response: str
    factors: tuple[str, ...]
    out: str
    parameterization: str
    noise: str
    priors: str
    num_chains: int
    num_warmup: int
    num_draws: int
    seed: int
    target_accept: float
    keep_effects: str
    chain_method: str
    stream: bool
    figures: bool

    def settings(self) -> dict[str, Any]:
        """Arguments of :func:`crossed_jax.fitting.fit`."""
        others = ("table", "response", "factors", "out", "stream", "figures")
        return {name: value for name, value in self._asdict().items() if name not in others}


def load_command(checkpoint: Path) -> Command:
    """Read the command whose run a checkpoint keeps.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    from crossed_jax.sampling.checkpoint import NOTE, damaged, load_note

    note = load_note(checkpoint)
    if isinstance(note.get("factors"), list):
        note["factors"] = tuple(map(str, note["factors"]))  # JSON has no tuples
    kinds = {name: get_origin(kind) or kind for name, kind in get_type_hints(Command).items()}
    nulls = [value for value in note.values() if isinstance(value, str) and "\0" in value]
    if nulls or {name: type(value) for name, value in note.items()} != kinds:
        raise damaged(checkpoint / NOTE)
    return Command(**note)
