"""The champion as a registered model, and what MLflow serves."""
