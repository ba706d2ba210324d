"""What was asked of ``fit``: a checkpoint keeps it, and ``resume`` goes by it."""

from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args, get_origin, get_type_hints

from crossed_jax.cli.priors import with_priors

if TYPE_CHECKING:
    from crossed_jax.models.model import Model
    from crossed_jax.tables.crossed_data import CrossedData


class Command(NamedTuple):
    """The flags of ``fit``, in plain values that fit into JSON."""

    table: str
    wide: bool
    response: str
    factors: tuple[str, ...]
    out: str
    model: str
    slopes: str
    noise_by: tuple[str, ...]
    interaction: str
    nested: str
    sample: str
    parameterization: str
    noise: str
    priors: str
    prior: tuple[str, ...]
    num_chains: int
    num_warmup: int
    num_draws: int
    seed: int
    target_accept: float | None
    keep_effects: str
    chain_method: str
    stream: bool
    figures: bool
    report: bool

    @property
    def names_parts(self) -> bool:
        """Whether parts of the screen model are asked for, or not wanted, by name."""
        return bool(self.slopes or self.noise_by or self.interaction)

    @property
    def has_parts(self) -> bool:
        """Whether it is a screen model, whatever its parts."""
        named = self.slopes or self.noise_by or self.interaction == "yes"
        return self.model == "screen" or bool(named or self.has_units)

    @property
    def has_units(self) -> bool:
        """Whether anything is nested in the factors."""
        return bool(self.nested or self.sample)

    def settings(self, data: "CrossedData") -> dict[str, Any]:
        """Arguments of :func:`crossed_jax.fitting.fit`."""
        of_table, of_files = ("table", "wide", "response", "factors"), ("out", "stream")
        others = (*of_table, *of_files, "figures", "report", "prior")
        parts = ("model", "slopes", "noise_by", "interaction", "nested", "sample")
        told = self._asdict()
        settings = {name: told[name] for name in told if name not in (*others, *parts)}
        priors = with_priors(self.priors, self.prior, data)
        return settings | {"model": self._model(data), "priors": priors}

    def _model(self, data: "CrossedData") -> "str | Model":
        """Which model it is: one by its name, or by the parts that were named."""
        from crossed_jax.models.model import Model, chosen, resolved

        named = Model(
            self.slopes or None,
            self.noise_by,
            self.interaction == "yes",
            self.noise,
            self.nested or None,
            sample=self.sample or None,
        )
        if not self.names_parts and (self.model == "screen" or not self.has_units):
            return self.model
        if self.model == "additive":
            return named
        resolved(named, data)  # refuses what cannot be had
        parts, notes = resolved("screen", data)
        guide_noise = self.nested in self.noise_by
        if parts is None or (self.interaction != "no" and not guide_noise):
            return "screen"
        interaction = parts.interaction and self.interaction != "no"
        other = parts._replace(interaction=interaction, guide_noise=guide_noise)
        return chosen(other, data.factor_names)._replace(notes=notes)


def load_command(checkpoint: Path) -> Command:
    """Read the command whose run a checkpoint keeps.

    Raises
    ------
    InputError
        If there is none, or it is damaged.
    """
    from crossed_jax.sampling.checkpoint import NOTE, damaged, load_note

    note = load_note(checkpoint)
    for name in ("factors", "noise_by", "prior"):
        if isinstance(note.get(name), list):
            note[name] = tuple(map(str, note[name]))  # JSON has no tuples
    kinds = get_type_hints(Command)
    known = note.keys() == kinds.keys() and all(_is_a(note[n], kind) for n, kind in kinds.items())
    if not known or any(isinstance(value, str) and "\0" in value for value in note.values()):
        raise damaged(checkpoint / NOTE)
    return Command(**note)


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of a kind as annotated, exactly: True is no number."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (get_origin(kind) or kind,)
    return type(value) in kinds
