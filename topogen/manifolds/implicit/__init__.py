"""Zero sets of constraints: projection, boundary gate, valid zeros, projection along a fixed normal space."""
