"""Declares, searches, trains and logs; the only writer to the tracking store."""

from time import monotonic

STARTED = monotonic()
"""When this process began with the study, before it imported what takes seconds."""
