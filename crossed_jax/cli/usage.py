"""Wrong usage of the command line, told in one line."""

import difflib
from typing import Any

import typer

from crossed_jax.errors import told

# by the name that pydantic, which converts what is given, has for what was wrong
_WANTED = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "float_parsing": "a number",
    "greater_than_equal": "{ge} or more",
}


def explain(error: Any) -> str:
    """Say what a ``typer.TyperException`` found wrong: what, where, and the way out."""
    context = getattr(error, "ctx", None)
    faults = getattr(error.__cause__, "errors", None)
    if isinstance(error, typer.BadParameter) and error.param is not None and faults is not None:
        return _explain_value(error.param.opts[0], faults()[0])
    command = "crossed-jax" if context is None else context.command_path
    if context is not None and hasattr(error, "possibilities"):  # an option that does not exist
        options = [option for parameter in context.command.params for option in parameter.opts]
        nearest = difflib.get_close_matches(error.option_name, options, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"see {command} --help."
        return f"there is no option {told(error.option_name)}: {hint}"
    fault = error.format_message().rstrip(".")
    fault = fault[:1].lower() + fault[1:]
    return fault if fault.endswith("?") else f"{fault}: see {command} --help."


def _explain_value(option: str, fault: dict[str, Any]) -> str:
    wanted = _WANTED.get(fault["type"])
    if wanted is None:  # of choices Typer writes: 'best' is not one of 'auto', ...
        wanted = fault["msg"].rpartition(" is not ")[2].rstrip(".")
    else:
        wanted = wanted.format(**fault.get("ctx", {}))
    return f"{option} is {told(fault['input'])}: give {wanted}."
