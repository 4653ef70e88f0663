"""How right a detector is: on simulated stations, whose truth is known, and on recordings."""
