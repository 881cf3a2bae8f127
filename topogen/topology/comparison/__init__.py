"""Two clouds side by side: distances, tests, what only one of them has."""
