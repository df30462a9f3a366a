"""From posts to padded tensors."""
