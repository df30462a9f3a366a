"""Distributed experiments around shapca: sweeps and studies on Ray, Optuna and MLflow."""
