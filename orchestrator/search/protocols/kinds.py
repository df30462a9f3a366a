"""The kinds of protocol by their name in a sweep's file; a new one is a file and a line here."""

from orchestrator.search.protocol import Protocol
from orchestrator.search.protocols.confirm import Confirm
from orchestrator.search.protocols.listed import Listed
from orchestrator.search.protocols.replicate import Replicate
from orchestrator.search.protocols.single import Single

PROTOCOLS: dict[str, type[Protocol]] = {
    "confirm": Confirm,
    "replicate": Replicate,
    "single": Single,
    "listed": Listed,
}
