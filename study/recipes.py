"""The training recipes; everything the study does not search is fixed here."""

from models.config import Recipe

BOOK = Recipe("book", epochs=10)
"""The exercises' own: SGD at a constant 0.1. Its last step is mostly oscillation."""

CONSTANT = Recipe("constant", epochs=100)
"""`book` for ten times as long: one training passes through all shorter ones."""

DECAY = Recipe("decay", epochs=10, schedule="linear")
"""`book` with the learning rate decayed to 0, so that the end point is a property of the arm."""

LONG = Recipe("long", epochs=80, momentum=0.9, schedule="cosine")
"""A horizon at which the network overfits and regularisation binds."""

SHORT = Recipe("short", epochs=3, momentum=0.9, schedule="cosine")
"""`long` in three epochs: the best trained network that a study of ten minutes affords, too short to overfit."""
