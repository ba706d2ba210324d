"""Changes to the draws of a tree, for tests of what is said of it."""

import xarray as xr


def edit(tree, group, name, change):
    """Set a variable of a group to what `change` makes of its values."""
    dataset = tree[group].to_dataset()
    dataset[name] = (dataset[name].dims, change(dataset[name].values.copy()))
    tree[group] = xr.DataTree(dataset)
    return tree


def put(where, value):
    """Give a change for `edit` that sets some of the values."""

    def change(values):
        values[where] = value
        return values

    return change
