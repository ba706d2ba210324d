"""What comes in: a response and the factors it is crossed by, read, checked, or simulated."""
