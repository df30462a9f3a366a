"""What a run leaves behind: identity, epochs, checkpoints, its best model."""
