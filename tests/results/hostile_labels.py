"""Labels that would take over a page that does not escape them, or break its layout."""

HOSTILE = [
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "' onmouseover='document.title=1",
    "</td></table></script><style>*{display:none}</style>",
    "{{ 7 * 7 }}{% raw %}",
    "W" * 3_000,
    "\N{FAMILY}\N{ZERO WIDTH JOINER}\N{GIRL} \N{DNA DOUBLE HELIX}",
    "\u202emirrored\u202c \u05d0\u05d1\u05d2 \u0645\u062b\u0627\u0644",
    "nul \0 line\nbreak\ttab",
]


def relabelled(tree, factor):
    """Copy a tree, the first levels of a factor with hostile labels."""
    import xarray as xr

    copy = tree.copy()
    for name, node in tree.children.items():
        group = node.to_dataset()
        if factor in group.coords:
            levels = group[factor].values.astype(object)
            levels[: len(HOSTILE)] = HOSTILE
            copy[name] = xr.DataTree(group.assign_coords({factor: levels}))
    return copy
