"""MLflow kept in line with the store; the only folder that imports mlflow."""
