"""Declares, searches, trains and logs; the only writer to the tracking store."""
