"""NUTS on any log-density: warm-up, chains, devices, checkpoints, programs. It knows no factor."""
