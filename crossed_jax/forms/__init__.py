"""A form sampled: with its effects, or without them, which are then drawn back."""
