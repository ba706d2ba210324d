"""The collapsed form: Gaussian noise, all effects integrated out, and drawn back exactly."""
