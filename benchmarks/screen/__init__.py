"""The screen model measured: agreement, calibration, prediction, one library against another."""
