"""What the screen model is measured by."""
