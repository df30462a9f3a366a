"""A search as a study in one of Optuna's storages, for its dashboard and its figures."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from orchestrator.config.conditions import Space
from orchestrator.search.samplers import Tried, distributions, frozen_trial
from shapca.errors import InputError

METRIC = "val/f1"
ORIGIN = "exported_from"
"""The attribute by which a study is known as an export of the same sweep."""
BEYOND = "beyond_the_space"
"""The attribute that holds what a given point has beyond the bounds, which Optuna would refuse."""
Change = Literal["written", "unchanged", "extended", "replaced"]


@dataclass(frozen=True)
class ExportedTrial:
    """One configuration of a search.

    Attributes:
        tried: Its setting, and what came of it.
        curve: Validation F1 in percent by epoch.
        attributes: What else is known of it, as JSON has it.
        began: Unix time in seconds.
        ended: Unix time in seconds; None while it runs.
    """

    tried: Tried
    curve: Mapping[int, float]
    attributes: Mapping[str, Any]
    began: float
    ended: float | None


def export_study(
    url: str,
    name: str,
    origin: str,
    space: Space,
    trials: Sequence[ExportedTrial],
    attributes: Mapping[str, Any],
    *,
    replace: bool = False,
) -> Change:
    """Write a search as an Optuna study; what is there already is not written again.

    Args:
        url: A database as SQLAlchemy names it, or the path of a journal file.
        name: Of the study.
        origin: What tells the sweep from any other.
        space: Dimensions by dotted key.
        trials: Its configurations, in order.
        attributes: Of the study.
        replace: Write a study anew whose trials have changed since it was exported.

    Raises:
        InputError: The storage cannot be used, holds another study of that name, or one whose
            trials are others now.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    forms = distributions(space)
    wanted = [_frozen(trial, space, forms) for trial in trials]
    with _refused(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = _open(url)
        change: Change = "written"
        start, study = 0, None
        if name in optuna.get_all_study_names(storage):
            study = optuna.load_study(study_name=name, storage=storage)
            if study.user_attrs.get(ORIGIN) == origin:
                start, change = _compare(study, wanted, name, may_replace=replace)
            elif not _is_bare(study):
                raise InputError(
                    f"the study {name!r} is there and was not exported from this sweep; give "
                    "another --study-name"
                )
            if change == "replaced":
                optuna.delete_study(study_name=name, storage=storage)
                study = None
        if study is None:
            study = optuna.create_study(study_name=name, storage=storage, direction="maximize")
        if study.user_attrs.get(ORIGIN) != origin:
            study.set_user_attr(ORIGIN, origin)
        if study.metric_names != [METRIC]:
            study.set_metric_names([METRIC])
        for trial in wanted[start:]:
            study.add_trial(trial)
        for key, value in _plain(attributes).items():
            if study.user_attrs.get(key) != value:
                study.set_user_attr(key, value)
    return change


def _is_bare(study: Any) -> bool:
    """Whether nothing is in a study yet, as when an export was cut off once it had made it."""
    is_empty = not study.user_attrs and not study.get_trials(deepcopy=False)
    return is_empty and [direction.name for direction in study.directions] == ["MAXIMIZE"]


def _compare(
    study: Any, wanted: Sequence[Any], name: str, *, may_replace: bool
) -> tuple[int, Change]:
    """How many trials are there as they should be, and what is to be done.

    Raises:
        InputError: A trial is another one now; Optuna lets none be changed.
    """
    there = study.get_trials(deepcopy=False)
    for number, trial in enumerate(there):
        if number < len(wanted) and _content(trial) == _content(wanted[number]):
            continue
        if may_replace:
            return 0, "replaced"
        now = wanted[number].state.name if number < len(wanted) else "no more"
        raise InputError(
            f"the study {name!r} is there, and its trial {number} ({trial.state.name}) has changed "
            f"since (now {now}); Optuna lets no trial be changed: --replace writes the study anew, "
            "and what was added to it by others is lost; --study-name writes it beside"
        )
    return len(there), "unchanged" if len(there) == len(wanted) else "extended"


def _content(trial: Any) -> tuple[Any, ...]:
    value = None if trial.value is None else float(trial.value)
    return (
        trial.state,
        trial.params,
        trial.distributions,
        value,
        trial.intermediate_values,
        trial.user_attrs,
    )


def _frozen(trial: ExportedTrial, space: Space, forms: Mapping[str, Any]) -> Any:
    values = trial.tried.values
    held = [key for key, value in values.items() if space[key].holds(value)]
    frozen = frozen_trial(trial.tried, {key: forms[key] for key in held})
    beyond = {key: value for key, value in values.items() if key not in held}
    frozen.user_attrs = _plain({**trial.attributes, **({BEYOND: beyond} if beyond else {})})
    frozen.intermediate_values = {
        epoch: float(value) for epoch, value in trial.curve.items() if math.isfinite(value)
    }
    frozen.datetime_start = datetime.fromtimestamp(trial.began)
    if trial.ended is not None and frozen.state.is_finished():
        frozen.datetime_complete = datetime.fromtimestamp(trial.ended)
    return frozen


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as JSON gives them back: Optuna keeps them so."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(attributes)))
    return plain


def _open(url: str) -> Any:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if "://" not in url:
        _check_journal(Path(url).expanduser())
        return JournalStorage(JournalFileBackend(str(Path(url).expanduser())))
    if url.startswith("redis"):
        raise InputError("expected a database, e.g. sqlite:///optuna.db, or a journal file")
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    try:
        tables = sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()
    if tables and "studies" not in tables:
        raise InputError(f"the database holds something else than studies ({tables[0]} …)")
    return RDBStorage(url)


def _check_journal(file: Path) -> None:
    """Make sure that nothing is appended to a file of another kind.

    Raises:
        InputError: It is not a journal of Optuna's.
    """
    if not file.exists():
        return
    with file.open("rb") as opened:
        first = opened.readline(2**20)
    try:
        is_journal = not first or "op_code" in json.loads(first)
    except ValueError:
        is_journal = False
    if not is_journal:
        hint = f"; a database is sqlite:///{file}" if first.startswith(b"SQLite format") else ""
        raise InputError(f"the file is there and is no journal of Optuna's{hint}")


@contextmanager
def _refused(url: str) -> Iterator[None]:
    """Whatever Optuna, SQLAlchemy and drivers raise, as one message."""
    try:
        yield
    except InputError as error:
        raise InputError(f"--optuna {url}: {error}") from None
    except Exception as error:
        said = (str(getattr(error, "orig", None) or error).strip() or "?").splitlines()[0]
        raise InputError(
            f"--optuna {url}: {type(error).__name__}: {said}; expected a database as SQLAlchemy "
            "names it, e.g. sqlite:///optuna.db, or a path, e.g. optuna.log"
        ) from None
