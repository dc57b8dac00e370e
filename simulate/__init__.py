"""A world to live in: traffic and faults with known truth. Imports everything, is imported by tests only."""
