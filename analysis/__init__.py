"""Reads the tracking store and answers the questions; the only reader."""
