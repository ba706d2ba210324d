"""What `cj.fit` leaves to its callers: arguments for one of them, and threads besides the run."""

import threading
from inspect import signature

import jax

import crossed_jax as cj


def test_fit_has_no_private_argument():
    assert [name for name in signature(cj.fit).parameters if name.startswith("_")] == []


def test_fit_starts_no_thread_that_it_does_not_wait_for(monkeypatch):
    started, start = [], threading.Thread.start

    def record(thread):
        started.append(thread)
        start(thread)

    jax.devices()  # JAX starts one of its own
    monkeypatch.setattr(threading.Thread, "start", record)
    cj.fit(cj.simulate_screen(seed=0).data, num_warmup=600, num_draws=20)
    # pools, whose work is waited for, are all that there is
    assert {thread.name.split("-")[0] for thread in started} <= {"ThreadPoolExecutor"}
