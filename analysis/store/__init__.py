"""Reads MLflow's store, and the folder of a report, into one typed run table."""
