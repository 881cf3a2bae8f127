"""Nerves and orientation of covers by charts."""
