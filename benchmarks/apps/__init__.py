"""What the measured services serve."""
