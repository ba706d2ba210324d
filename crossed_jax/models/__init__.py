"""The forms of the model: one posterior (or, for the design matrix, its neighbour), several shapes.

Each file answers the same questions, gathered in a
:class:`~crossed_jax.models.parameterization.Parameterization`: the log-density of a position, a
starting position and its rough scale, and the quantities with names that a position stands for.
"""
