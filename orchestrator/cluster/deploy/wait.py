"""`python -m orchestrator.cluster.deploy.wait ADDRESS NODES`: until so many nodes have joined."""

from __future__ import annotations

import sys
import time

from shapca.words import counted

SECONDS = 300.0


def wait_for_nodes(address: str, num_nodes: int, seconds: float = SECONDS) -> int:
    """Wait for nodes of a Ray cluster that is being started; how many there are in the end.

    Args:
        address: Of the cluster's head.
        num_nodes: How many to wait for.
        seconds: How long at most.
    """
    import ray

    deadline, num_alive = time.monotonic() + seconds, 0
    while num_alive < num_nodes and time.monotonic() < deadline:
        try:
            if not ray.is_initialized():
                ray.init(address=address, logging_level="ERROR", log_to_driver=False)
            num_alive = sum(node["Alive"] for node in ray.nodes())
        except (ConnectionError, RuntimeError):  # the head is not there yet
            num_alive = 0
        time.sleep(0.5)
    return num_alive


def main() -> None:
    """Exit code 1 where the nodes do not come."""
    address, wanted = sys.argv[1], int(sys.argv[2])
    found = wait_for_nodes(address, wanted)
    print(f"{found} of {counted(wanted, 'node')} at {address}", flush=True)
    sys.exit(0 if found >= wanted else 1)


if __name__ == "__main__":
    main()
