"""Distributed experiments around shapca: sweeps and studies on Ray, Optuna and MLflow.

The names of a script, imported when they are first asked for: `run_sweep` and `run_study` do what
the commands of these names do, and give their outcome. A sweep's report is made where `run_sweep`
is given its maker (`report=orchestrator.reports.make.report_at_the_end`), as the command does.
"""

from typing import TYPE_CHECKING

from shapca.lazy import lazy_names

if TYPE_CHECKING:
    from orchestrator.config.sweep import SweepConfig as SweepConfig
    from orchestrator.studies.config import StudyConfig as StudyConfig
    from orchestrator.studies.run import StudyOutcome as StudyOutcome
    from orchestrator.studies.run import run_study as run_study
    from orchestrator.sweeps.driver import SweepOptions as SweepOptions
    from orchestrator.sweeps.driver import run_sweep as run_sweep
    from orchestrator.sweeps.record.outcome import SweepOutcome as SweepOutcome

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "SweepConfig": ".config.sweep",
        "SweepOptions": ".sweeps.driver",
        "SweepOutcome": ".sweeps.record.outcome",
        "run_sweep": ".sweeps.driver",
        "StudyConfig": ".studies.config",
        "StudyOutcome": ".studies.run",
        "run_study": ".studies.run",
    },
)
