"""How a sweep looks to a person: terminal, JSON, Markdown."""
