"""Learning: recommenders and their blend. Imports actors and events."""
