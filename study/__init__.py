"""The application: declares a study, searches, trains, logs."""
