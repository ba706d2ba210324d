"""The models: a log-density each, put together from parts that know nothing of each other.

What the sampler is given is a `Parameterization` (`parameterization`): the log-density of a
position, where chains start and how widely, and what is kept of a draw. `parts` makes one of an
intercept and effects in some coordinates, the *terms*, and of how responses stray from their sum,
the *noise*.

Terms (`terms` lists them) are the model as posted, with its ridge (`original`); the same posterior
without it (`sum_to_zero`, by the transform of `zero_sum`); and a neighbour that pools nothing
(`design_matrix`). Their coordinates are chosen by what the data say of them (`centering`,
`sd_coordinate`). Noise (`noise` lists it) is `normal` or `student_t`. Under Normal noise the
effects can be integrated out and drawn back exactly: the `collapsed` form, of the SDs alone, is a
folder of its own, and so is the `screen` model, of genes and lines.

Priors come by name or from the caller (`priors`): checked (`prior_checks`), written out
(`spelling`), made of what NumPyro or `distributions` has. `offset` measures a response far from
zero from a number nearby, and `random` fills arrays with Normal numbers on all cores.
"""
