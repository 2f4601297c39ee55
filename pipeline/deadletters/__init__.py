"""The dead letters: reading them, putting them back where they came from, removing them."""
