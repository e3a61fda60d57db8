"""Writes a study to MLflow: its runs, their artifacts, the winner as a model."""
