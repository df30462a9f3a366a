"""The MLflow stores of the orchestrator's tests."""

from tests.orchestrator.conftest import mlflow_template, mlflow_uri

__all__ = ["mlflow_template", "mlflow_uri"]
