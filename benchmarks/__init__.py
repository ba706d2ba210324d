"""Measured comparisons: results as they were measured, and what the README shows of them."""
