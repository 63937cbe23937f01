"""What rendered services cost, against raw drivers and the idioms of the tutorials."""
