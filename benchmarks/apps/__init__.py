"""The applications of the measured services."""
