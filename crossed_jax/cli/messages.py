"""What is said on stderr: for people alone, and unable to steer their terminal."""

import sys
import textwrap


def say(text: str) -> None:
    """Say something as it is, but for what a terminal would obey: labels come from files."""
    text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    print(text, file=sys.stderr)


def complain(text: str) -> None:
    """Say in one line why there is no result."""
    say(f"crossed-jax: {' '.join(text.split())}")


def one_line(why: str | Exception) -> str:
    """Give a reason, or what failed, on one line of bounded length."""
    text = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
    return textwrap.shorten(text, 300, placeholder="...").rstrip(".")
