"""Figures of the run table."""
