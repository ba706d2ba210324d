"""The report of a fit: one page of HTML that holds all it shows and asks nothing of the network.

`contents` says what is told, in plain values; `page` sets it in the template `page.html`, whose
style and script stand beside it. Labels come from users' tables: the template escapes all that it
is given, and the page allows no script but its own, by its hash.
"""

from crossed_jax.results.report.page import report

__all__ = ["report"]
