"""Exercise 4: the same weights, evaluated with noise."""

PASSES = (1, 2, 5, 10, 20, 50, 100, 200)
