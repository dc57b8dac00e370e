"""Facts: what happened, checked, named, kept. Imports nothing else of Everfold."""
