"""A world to live in: traffic and faults with known truth. Imports everything and is imported by
tests only; the command line finds it by name."""
