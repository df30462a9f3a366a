"""What several commands take: the sweep by file or name, the storage, the tracking store."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.config.sweep import SweepConfig
from orchestrator.store.address import PLACES, absolute_uri, is_remote, open_store
from orchestrator.studies.config import StudyConfig
from shapca.config import NAME, read_yaml
from shapca.errors import InputError
from shapca.storage import ObjectStore

if TYPE_CHECKING:
    from orchestrator.cluster.jobs import Cluster, SubmittedJob
    from orchestrator.sweeps.control.reuse import StalePolicy
    from orchestrator.sweeps.driver import SweepOptions

Space = Annotated[
    Path, typer.Argument(help="Search-space file (YAML), or the name of one that comes along.")
]
SpaceOrName = Annotated[
    str, typer.Argument(metavar="SPACE-OR-NAME", help="The sweep's file (YAML), or its name.")
]
OptionalSpaceOrName = Annotated[
    str | None,
    typer.Argument(metavar="SPACE-OR-NAME", help="The sweep's file (YAML), or its name."),
]
Storage = Annotated[str, typer.Option(help=f"Where cells and records are kept: {PLACES}.")]
_tracking_option = partial(
    typer.Option, envvar="MLFLOW_TRACKING_URI", show_default="SQLite under the storage"
)
TrackingUri = Annotated[str | None, _tracking_option(help="MLflow's store.")]
TrackingUriOrNone = Annotated[
    str | None, _tracking_option(help="MLflow's store; `none`: no tracking.")
]
_data_root_option = partial(
    typer.Option, show_default="the file's runtime.data_root, else $SHAPCA_DATA, else data"
)
DataRoot = Annotated[Path | None, _data_root_option(help="Folder of the prepared data sets.")]
DataRootOnCluster = Annotated[
    Path | None,
    _data_root_option(
        help="Folder of the prepared data sets, here or at the same path on the cluster."
    ),
]
_JOB_SERVER = "The cluster's job server, e.g. http://127.0.0.1:8265"
Address = Annotated[
    str | None,
    typer.Option(help=f"{_JOB_SERVER}.", envvar=["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"]),
]
AddressToAsk = Annotated[str | None, typer.Option(help=f"{_JOB_SERVER}, to show jobs there too.")]
Submission = Annotated[str | None, typer.Option(help="Submission id of one attempt at a sweep.")]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="Address of a Ray cluster.", envvar="RAY_ADDRESS", show_default="a local Ray"
    ),
]
WaitForResources = Annotated[
    bool,
    typer.Option(
        "--wait-for-resources",
        help="Wait for nodes that are still to come, for clusters that scale from zero.",
    ),
]
AcceptStale = Annotated[
    bool, typer.Option("--accept-stale", help="Reuse finished cells that other code trained.")
]
RerunStale = Annotated[
    bool, typer.Option("--rerun-stale", help="Train the cells of other code again.")
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try failed cells again.")]


@dataclass(frozen=True)
class RunOptions:
    """Where and how a sweep or study runs, as the options of a command."""

    storage: Storage = "storage"
    tracking_uri: TrackingUriOrNone = None
    data_root: DataRoot = None
    address: RayAddress = None
    wait_for_resources: WaitForResources = False
    accept_stale: AcceptStale = False
    rerun_stale: RerunStale = False
    retry_failed: RetryFailed = False

    def for_driver(self) -> SweepOptions:
        """The same as a driver takes it.

        Raises:
            InputError: stale cells are both to be accepted and to be trained again.
        """
        from orchestrator.cluster.session import RayOptions
        from orchestrator.sweeps.driver import SweepOptions

        return SweepOptions(
            storage=self.storage,
            tracking_uri=self.tracking_uri,
            data_root=self.data_root,
            ray=RayOptions(self.address, self.wait_for_resources),
            stale=stale_policy(self.accept_stale, self.rerun_stale),
            retry_failed=self.retry_failed,
        )


def sweep_name(space_or_name: str) -> str:
    """The name of a sweep or study that is given by its file or name.

    Raises:
        InputError: a file that is no search space, or a path that does not exist.
    """
    path = Path(space_or_name)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if "rows" in (tree := read_yaml(path)) or "series" in tree:
            return StudyConfig.load(path).name
        return SweepConfig.load(path).name
    if not re.fullmatch(NAME, space_or_name):
        raise InputError(f"{space_or_name!r}: expected a search-space file or the name of a sweep")
    return space_or_name


def is_training_file(tree: Mapping[str, Any]) -> bool:
    """Whether a file's content is a training file's, not a sweep's or study's."""
    return "data" in tree and not {"name", "space", "rows", "series", "columns"} & set(tree)


@contextmanager
def mlflow_answers(uri: str) -> Iterator[None]:
    """Within it an MLflow that does not answer, or refuses, is one message and exit code 1."""
    from orchestrator.tracking.client.addresses import redact
    from orchestrator.tracking.client.client import TrackingRefusedError, TrackingUnavailableError

    try:
        yield
    except TrackingUnavailableError as error:
        typer.echo(f"error: MLflow at {redact(uri)} does not answer: {error}", err=True)
        raise typer.Exit(1) from None
    except TrackingRefusedError as error:
        typer.echo(f"error: MLflow at {redact(uri)} refuses: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def work_is_kept() -> Iterator[None]:
    """Within it signals interrupt at once, and lost nodes are one message and exit code 1."""
    from orchestrator.cluster.session import interruptible
    from orchestrator.cluster.watch import NodesFailedError, RayLostError

    try:
        with interruptible():
            yield
    except (NodesFailedError, RayLostError) as error:
        typer.echo(
            f"error: {error}; what is done is kept: run the same command again to resume", err=True
        )
        raise typer.Exit(1) from None


def stale_policy(accept: bool, rerun: bool) -> StalePolicy:
    """What to do with cells of other code, from the two options.

    Raises:
        InputError: both are given.
    """
    if accept and rerun:
        raise InputError("--accept-stale and --rerun-stale: expected at most one of them")
    return "accept" if accept else "rerun" if rerun else "refuse"


def existing_storage(storage: str) -> tuple[str, ObjectStore]:
    """Absolute address and store of a storage that is only looked at, so it must be there.

    Raises:
        InputError: no such folder.
    """
    address = absolute_uri(storage)
    if not is_remote(address) and not Path(address).is_dir():
        raise InputError(f"storage {address}: no such folder; name it with --storage")
    return address, open_store(address)


def find_job(
    cluster: Cluster, sweep: str | None, storage: str, submission: str | None
) -> SubmittedJob:
    """The attempt that a command means: by its id, or the last one at a sweep.

    Raises:
        InputError: neither is given, or there is none.
    """
    from orchestrator.cluster.jobs import submission_base

    if submission is not None:
        return cluster.job(submission)
    if sweep is None:
        raise InputError("expected a sweep's file or name, or --submission")
    name = sweep_name(sweep)
    attempts = cluster.jobs(submission_base(name, absolute_uri(storage)))
    if not attempts:
        raise InputError(
            f"sweep {name}: not submitted to this cluster with storage {absolute_uri(storage)}"
        )
    return attempts[-1]
