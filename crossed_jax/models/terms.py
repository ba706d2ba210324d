"""The parameterizations of intercept and effects, by name."""

from crossed_jax.models import design_matrix, original, sum_to_zero
from crossed_jax.models.parts import Terms

TERMS: dict[str, Terms] = {
    terms.name: terms for terms in (original.TERMS, design_matrix.TERMS, sum_to_zero.TERMS)
}
