"""The library's messages name its arguments; whoever reads them here has the flags of ``fit``.

So ``parameterization='sum_to_zero'`` becomes ``--parameterization sum_to_zero``, ``stream_to=`` and
``target_accept`` become ``--stream`` and ``--target-accept``, and the way out of ``read it with
cj.read_wide`` is to add ``--wide``. Names that are English words too are
taken for arguments only before an equals sign. What a message quotes is a user's, and is left as it
is; so is a label in brackets, as in ``gene_effect[TP53]``, and what is part of a path.
"""

import re
import shlex

FLAGS = {
    "response": "--response",
    "factors": "--factors",
    "out": "--out",
    "model": "--model",
    "slopes": "--slopes",
    "noise_by": "--noise-by",
    "interaction": "--interaction",
    "nested": "--nested",
    "sample": "--sample",
    "parameterization": "--parameterization",
    "noise": "--noise",
    "priors": "--priors",
    "num_chains": "--chains",
    "num_warmup": "--warmup",
    "num_draws": "--draws",
    "seed": "--seed",
    "target_accept": "--target-accept",
    "keep_effects": "--keep-effects",
    "chain_method": "--chain-method",
    "checkpoint": "--checkpoint",
    "stream_to": "--stream",
}

_READERS = {
    "read it with cj.read_wide": "add --wide",
    "read it with cj.read_table": "leave out --wide",
}

_OF_USERS = r"""(?<!\w)'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\[[^\]]*\]"""
_ARGUMENT = rf"""
    (?<![\w./\\-]) (?P<name>{"|".join(FLAGS)})
    (?: (?P<given>=) (?: '(?P<text>[^']*)' | (?P<plain>[\w.]*\w) )? | (?! [\w/\\-] | \.\w ) )
"""
_READER = "|".join(map(re.escape, _READERS))
_FOUND = re.compile(f"{_OF_USERS}|(?P<reader>{_READER})|{_ARGUMENT}", re.VERBOSE)


def in_flags(message: str) -> str:
    """Name the flags in a message that names arguments."""
    return _FOUND.sub(_flag, message)


def _flag(found: re.Match[str]) -> str:
    if found["reader"]:
        return _READERS[found["reader"]]
    name = found["name"]
    if name is None or not (found["given"] or "_" in name):
        return found[0]
    value = found["text"] or found["plain"]
    return f"{FLAGS[name]} {shlex.quote(value)}" if value else FLAGS[name]
