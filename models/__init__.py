"""The network, its noise and its training; knows neither MLflow nor Optuna."""
