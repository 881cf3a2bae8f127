"""From diagrams to Betti numbers: scales, rules that are theorems, confidence, significance, what the points show against them."""
