"""One run, epoch by epoch, resumable."""

from typing import TYPE_CHECKING

from shapca.lazy import lazy_names

if TYPE_CHECKING:
    from shapca.runs.epochs import EpochRecord as EpochRecord
    from shapca.runs.epochs import FitResult as FitResult
    from shapca.training.learning import StepProgress as StepProgress
    from shapca.training.run import Training as Training
    from shapca.training.whole_run import fit as fit

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "fit": ".whole_run",
        "Training": ".run",
        "StepProgress": ".learning",
        "EpochRecord": "..runs.epochs",
        "FitResult": "..runs.epochs",
    },
)
