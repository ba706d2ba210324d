"""The screen model on real screens: agreement, held-out prediction, one library against another."""
