"""The forms that sample the effects along with all else."""

import time
from collections.abc import Callable

from crossed_jax.forms.table import Sampled, Table, estimated
from crossed_jax.models.centering import describe_centering
from crossed_jax.models.parts import Noise, model_data_of, parameterization_of
from crossed_jax.models.terms import TERMS
from crossed_jax.sampling.chunks import Run


def sample_effects(
    draw: Callable[..., Run],
    form: str,
    noise: Noise,
    table: Table,
    centering: list[bool | None],
) -> Sampled:
    """Sample the effects along with all else."""
    clock = time.perf_counter()
    data, point = table.data, estimated(table)
    model_data = model_data_of(data, table.cells, table.priors, point, noise, centering)
    seconds = {"estimate": time.perf_counter() - clock}
    run = draw(parameterization_of(TERMS[form], noise), model_data)
    evidence, names = model_data.estimate.evidence, data.factor_names
    attributes = describe_centering(model_data.centering, evidence, names)
    return Sampled(run, run.draws, seconds | run.seconds, attributes)
