"""Ctrl-C, held back."""

import signal

import pytest

from crossed_jax.files.interrupts import deferred_interrupt


def test_interrupts_wait_for_the_end_of_the_block():
    with deferred_interrupt() as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
