"""What the package offers at its top."""

from importlib import resources

import pytest

import crossed_jax as cj


def test_its_public_names_are_listed_and_there():
    assert dir(cj) == sorted(cj.__all__)
    assert all(getattr(cj, name).__name__ == name for name in dir(cj))


def test_there_are_no_others():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        cj.nonsense  # noqa: B018


def test_its_types_are_for_its_users_too():
    assert (resources.files(cj) / "py.typed").is_file()
