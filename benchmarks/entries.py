"""Who takes part: one entry for each way of running a sampler."""

from typing import Any, NamedTuple

ORIGINAL = "NUTS, original form"
ZERO_SUM = "NUTS, zero-sum form"
OTHER = "NUTS, other forms"
COLLAPSED = "effects integrated out"
ESTIMATE = "point estimate"

SMALL = ("post", "penicillin", "screen-3x10x3")


class Entry(NamedTuple):
    """One way of running one package.

    Attributes
    ----------
    name
        Begins with the package's.
    family
        What is sampled, by which algorithm: only those of one family race on equal terms.
    script
        A file of ``benchmarks/peers``.
    options
        Settings of the script.
    python
        The interpreter that the script's environment is made with.
    in_project
        Whether the script runs in the project's own environment.
    own_priors
        Whether the package insists on priors of its own, so that its posterior is another.
    small_only
        Whether it would take hours on a large table.
    leaves_out
        Problems on which it would need many gigabytes.
    changes
        Of the problem's chains, warm-up steps and draws.
    """

    name: str
    package: str
    family: str
    script: str
    options: dict[str, Any] = {}  # noqa: RUF012
    python: str = "3.12"
    in_project: bool = False
    own_priors: bool = False
    small_only: bool = False
    leaves_out: tuple[str, ...] = ()
    changes: dict[str, int] = {}  # noqa: RUF012


def _crossed_jax(name: str, family: str, form: str, all_cores: bool = False, **more: Any) -> Entry:
    return Entry(
        f"crossed_jax {name}",
        "crossed_jax",
        family,
        "crossed_jax_fit.py",
        {"form": form, "all_cores": all_cores},
        in_project=True,
        **more,
    )


def _numpyro(form: str, method: str, **more: Any) -> Entry:
    return Entry(
        f"numpyro {form.replace('_', '-')}, {method}",
        "numpyro",
        {"original": ORIGINAL, "zero_sum": ZERO_SUM}[form],
        "numpyro_nuts.py",
        {"form": form, "chain_method": method},
        **more,
    )


def _pymc(name: str, package: str, form: str, sampler: str, **more: Any) -> Entry:
    return Entry(
        name,
        package,
        {"original": ORIGINAL, "zero_sum": ZERO_SUM}[form],
        "pymc_nuts.py",
        {"form": form, "sampler": sampler},
        **more,
    )


ENTRIES = (
    _crossed_jax("collapsed", COLLAPSED, "collapsed"),
    _crossed_jax(
        "collapsed, 16 chains on all cores",
        COLLAPSED,
        "collapsed",
        all_cores=True,
        changes={"chains": 16, "warmup": 300, "draws": 1000},
    ),
    _crossed_jax(
        "collapsed, 64 chains on all cores",
        COLLAPSED,
        "collapsed",
        all_cores=True,
        leaves_out=("insteval", "avana"),
        changes={"chains": 64, "warmup": 150, "draws": 2000},
    ),
    _crossed_jax("sum-to-zero", ZERO_SUM, "sum_to_zero"),
    _crossed_jax("sum-to-zero on all cores", ZERO_SUM, "sum_to_zero", all_cores=True),
    _crossed_jax("original", ORIGINAL, "original", small_only=True),
    _numpyro("zero_sum", "parallel"),
    _numpyro("zero_sum", "vectorized", small_only=True),
    _numpyro("original", "parallel", small_only=True),
    _numpyro("original", "vectorized", small_only=True),
    _pymc("nutpie zero-sum, compiled ahead", "nutpie", "zero_sum", "nutpie"),
    _pymc("nutpie original, compiled ahead", "nutpie", "original", "nutpie", small_only=True),
    _pymc(
        "nutpie original, low-rank metric", "nutpie", "original", "nutpie low rank", small_only=True
    ),
    _pymc("pymc zero-sum, default (nutpie)", "pymc", "zero_sum", "default"),
    _pymc("pymc original, default (nutpie)", "pymc", "original", "default", small_only=True),
    _pymc("pymc zero-sum, its own NUTS", "pymc", "zero_sum", "pymc", small_only=True),
    _pymc("pymc original, its own NUTS", "pymc", "original", "pymc", small_only=True),
    Entry(
        "pymc3 as posted",
        "pymc3",
        ORIGINAL,
        "pymc3_as_posted.py",
        python="3.9",
        small_only=True,
    ),
    Entry("blackjax plain", "blackjax", ORIGINAL, "blackjax_plain.py", small_only=True),
    Entry(
        "bambi defaults",
        "bambi",
        OTHER,
        "bambi_model.py",
        {"form": "defaults"},
        own_priors=True,
        small_only=True,
    ),
    Entry(
        "bambi, these priors, centred",
        "bambi",
        OTHER,
        "bambi_model.py",
        {"form": "centred"},
        small_only=True,
    ),
    Entry(
        "stan sum_to_zero_vector",
        "stan",
        ZERO_SUM,
        "stan_nuts.py",
        {"form": "zero_sum"},
        small_only=True,
    ),
    Entry("stan original", "stan", ORIGINAL, "stan_nuts.py", {"form": "original"}, small_only=True),
    Entry("rstanarm", "rstanarm", OTHER, "rstanarm_model.py", own_priors=True, small_only=True),
    Entry("lme4 REML", "lme4", ESTIMATE, "lme4_reml.py", own_priors=True),
)
QUICK = ("crossed_jax collapsed", "crossed_jax sum-to-zero", "numpyro zero-sum, parallel")


def chosen(wanted: list[str] | None, problem: str) -> list[Entry]:
    """Entries that take part in a problem; `wanted` are packages or beginnings of names."""
    taking_part = [
        entry
        for entry in ENTRIES
        if (problem in SMALL or not entry.small_only) and problem not in entry.leaves_out
    ]
    if wanted is None:
        return taking_part
    for want in wanted:
        if not any(_matches(entry, want) for entry in ENTRIES):
            names = "; ".join(entry.name for entry in ENTRIES)
            raise SystemExit(f"no peer begins with {want!r}: there are {names}.")
    return [entry for entry in taking_part if any(_matches(entry, want) for want in wanted)]


def _matches(entry: Entry, want: str) -> bool:
    return entry.package == want or entry.name.startswith(want)
