r"""What the posterior is, to judge samplers by.

Of a small table, by quadrature, which shares no code with any of them: given the SDs, intercept and
levels are jointly Gaussian with precision :math:`X^\top X/\sigma^2 + P`, X dense, one column for
the intercept and one per level; their moments are averaged over a grid of the logarithms of the
three SDs by the trapezoidal rule, which converges geometrically for a smooth function that vanishes
at both ends. Its error is the distance from the same rule on every second node.

Of a large table, by a long run of the collapsed form, other seeds and more chains than any entry's:
effects' moments are averages of exact conditional moments, so what error there is comes from the
SDs' draws, and is at most the posterior SD over the root of their effective number. This truth has
its code in common with the collapsed entry, which it therefore cannot convict of a wrong posterior:
that takes the other samplers, all of which are held against it, and the package's tests against
dense algebra.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import optimize
from scipy.special import logsumexp

from benchmarks.measures import identified_names, mcse

NODES = 57  # per SD, odd
HALF_WIDTH = 7.0  # of the first grid, in SDs of the normal approximation
DROP = 25.0  # in log-density, from the mode to the grid's edge
LONG_RUN = {"num_chains": 16, "num_warmup": 1000, "num_draws": 4000}


class Truth(NamedTuple):
    """Posterior mean and SD of each identified quantity, their errors, and how they were found."""

    names: list[str]
    mean: np.ndarray
    sd: np.ndarray
    mean_error: np.ndarray
    sd_error: np.ndarray
    kind: str


def truth_of(folder: Path, by_quadrature: bool) -> Truth:
    """Look the truth up in a problem's folder, or find it and keep it there."""
    kept = folder / "truth.npz"
    if not kept.exists():
        found = quadrature(folder) if by_quadrature else long_run(folder)
        np.savez(kept, **{k: np.array(v) for k, v in found._asdict().items()})
    arrays = np.load(kept)
    vectors = [arrays[k] for k in ("mean", "sd", "mean_error", "sd_error")]
    return Truth(arrays["names"].tolist(), *vectors, str(arrays["kind"]))


class Dense(NamedTuple):
    """A table as dense normal equations, and its priors."""

    gram: np.ndarray
    score: np.ndarray
    squares: float
    num_rows: int
    owner: np.ndarray
    num_levels: list[int]
    loc: float
    scale: float
    sd_scale: float


def quadrature(folder: Path) -> Truth:
    """Average exact conditional moments over a grid of the log SDs."""
    spec = json.loads((folder / "spec.json").read_text())
    table = _dense(folder, spec)
    axes = _axes(table)
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    shape = nodes.shape[:-1]
    log_density, mean, variance = conditional(table, nodes.reshape(-1, len(axes)))
    scales = np.exp(nodes.reshape(-1, len(axes)))[:, [-1, *range(len(axes) - 1)]]
    # in the order of the identified quantities: intercept, sigma, the factors' SDs, effects
    mean = np.concatenate([mean[:, :1], scales, mean[:, 1:]], axis=1)
    variance = np.concatenate([variance[:, :1], 0 * scales, variance[:, 1:]], axis=1)

    def moments(step: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = np.zeros(shape, bool)
        chosen[tuple(slice(None, None, step) for _ in shape)] = True
        chosen = chosen.ravel()
        weights = np.exp(log_density[chosen] - logsumexp(log_density[chosen]))
        center = weights @ mean[chosen]
        spread = weights @ (variance[chosen] + (mean[chosen] - center) ** 2)
        return center, np.sqrt(spread)

    fine, coarse = moments(1), moments(2)
    return Truth(
        identified_names(spec),
        *fine,
        *(abs(f - c) for f, c in zip(fine, coarse, strict=True)),
        f"quadrature, {len(axes[0])} nodes for each of {len(axes)} SDs",
    )


def _dense(folder: Path, spec: dict) -> Dense:
    arrays = np.load(folder / "input.npz")
    indicators = [
        np.eye(size)[codes] for size, codes in zip(spec["num_levels"], arrays["codes"], strict=True)
    ]
    design = np.concatenate([np.ones((spec["num_rows"], 1)), *indicators], axis=1)
    loc = spec["mean_loc"] * len(spec["factors"])
    response = arrays["response"] - loc
    return Dense(
        design.T @ design,
        design.T @ response,
        float(response @ response),
        len(response),
        np.repeat(np.arange(len(spec["factors"])), spec["num_levels"]),
        spec["num_levels"],
        loc,
        spec["mean_scale"] * len(spec["factors"]) ** 0.5,
        spec["sd_scale"],
    )


def conditional(
    table: Dense, log_sds: np.ndarray, batch: int = 4096
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-density of log SDs, shape (nodes, factors + 1), and the moments of the rest given them.

    Returns
    -------
    log_density, mean, variance
        Shapes (nodes,) and (nodes, 1 + levels): of the intercept and the zero-sum effects.
    """
    project = _project(table)
    parts = []
    for start in range(0, len(log_sds), batch):
        sds = np.exp(log_sds[start : start + batch])
        noise = sds[:, -1]
        latent_sds = np.column_stack([np.full(len(sds), table.scale), sds[:, table.owner]])
        # in units of the latents' prior SDs nothing is singular as an SD goes to zero
        scaled = latent_sds / noise[:, None]
        precision = scaled[:, :, None] * table.gram * scaled[:, None, :] + np.eye(len(table.score))
        factor = np.linalg.cholesky(precision)
        half = np.linalg.solve(factor, (scaled * table.score / noise[:, None])[:, :, None])[..., 0]
        root = np.linalg.solve(factor, latent_sds[:, :, None] * project.T)
        log_likelihood = (
            -table.num_rows * np.log(noise)
            - np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
            - 0.5 * (table.squares / noise**2 - (half**2).sum(1))
        )
        log_prior = (np.log(sds) - sds / table.sd_scale).sum(1)
        mean = np.einsum("nij,ni->nj", root, half)
        mean[:, 0] += table.loc
        parts.append((log_likelihood + log_prior, mean, (root**2).sum(1)))
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _project(table: Dense) -> np.ndarray:
    """From intercept and levels to the intercept of the zero-sum form and its effects."""
    size = len(table.score)
    project = np.zeros((size, size))
    project[0, 0] = 1.0
    for k, number in enumerate(table.num_levels):
        mine = np.flatnonzero(table.owner == k) + 1
        project[0, mine] = 1.0 / number
        project[np.ix_(mine, mine)] = np.eye(number) - 1.0 / number
    return project


def _axes(table: Dense) -> list[np.ndarray]:
    """Grid lines that reach where the density has fallen by ``DROP`` on every side."""

    def log_density(points: np.ndarray) -> np.ndarray:
        return conditional(table, np.atleast_2d(points))[0]

    start = np.log(np.full(len(table.num_levels) + 1, 0.5 * table.sd_scale))
    mode = optimize.minimize(lambda x: -log_density(x)[0], start, method="Nelder-Mead").x
    axes = []
    for k in range(len(mode)):
        # along each axis the other SDs are at their mode: close to the profile, and then widened
        line = np.linspace(-14.0, 6.0, 2001)
        points = np.tile(mode, (len(line), 1))
        points[:, k] += line
        inside = line[log_density(points) > log_density(mode)[0] - DROP]
        axes.append(mode[k] + np.linspace(1.15 * inside[0], 1.15 * inside[-1], NODES))
    return axes


def long_run(folder: Path) -> Truth:
    """Fit the collapsed form with many chains; effects' moments are exact given the SDs' draws."""
    import crossed_jax as cj

    spec = json.loads((folder / "spec.json").read_text())
    data = cj.read_table(
        folder / "table.csv", response=spec["response"], factors=tuple(spec["factors"])
    )
    tree = cj.fit(
        data,
        parameterization="collapsed",
        priors=spec["priors"],
        keep_effects="summary",
        seed=20_000,
        **LONG_RUN,
    )
    posterior, moments = tree["posterior"], tree["effect_moments"]
    scalars = ["intercept", "sigma", *(f"{factor}_sd" for factor in spec["factors"])]
    draws = np.stack([posterior[name].to_numpy() for name in scalars], axis=-1)
    error = mcse(draws)
    effects = {"mean": [], "sd": []}
    for factor in spec["factors"]:
        order = np.argsort(moments[factor].to_numpy())
        for moment, values in effects.items():
            values.append(moments[f"{factor}_effect_{moment}"].to_numpy()[order])
    mean, sd = (np.concatenate(effects[moment]) for moment in ("mean", "sd"))
    number = error.ess.min()
    return Truth(
        identified_names(spec),
        np.concatenate([draws.mean((0, 1)), mean]),
        np.concatenate([draws.std((0, 1)), sd]),
        np.concatenate([error.mean, sd / np.sqrt(number)]),
        np.concatenate([error.sd, sd / np.sqrt(2 * number)]),
        f"collapsed form, {draws.shape[0]} x {draws.shape[1]:,} draws, smallest ESS {number:,.0f}",
    )
