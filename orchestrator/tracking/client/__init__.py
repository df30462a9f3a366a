"""MLflow's runs and addresses, thinly wrapped."""
