"""Commands that only show: what a file may say, and what a storage holds, also to Optuna."""
