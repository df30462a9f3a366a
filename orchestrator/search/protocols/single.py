"""One seed for each configuration, nothing confirmed."""

from orchestrator.search.protocol import Protocol


class Single(Protocol):
    """A search alone."""
