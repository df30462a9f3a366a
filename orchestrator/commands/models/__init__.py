"""Commands that use a trained model: its predictions, a page for them, and its handing over."""
