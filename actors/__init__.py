"""State: what the facts add up to now. Imports events only."""
