"""Training of one run, epoch by epoch, resumable after any of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from shapca.alignment.health import AlignmentHealth
from shapca.build import build_model
from shapca.config import ExperimentConfig, RuntimeConfig
from shapca.data.batches.dataset import EncodedSplit
from shapca.data.prepared import PreparedData
from shapca.evaluation import EvaluationRecord, evaluate_run
from shapca.evaluation.evaluate import VALID, predict_split, score
from shapca.metrics import Evaluation
from shapca.model.device import peak_memory_mb, set_up
from shapca.model.inputs import encode_split
from shapca.model.network import ShapCA
from shapca.runs.checkpoint import (
    Best,
    Checkpoint,
    Checkpoints,
    TrainingState,
    load_history,
)
from shapca.runs.encoder_files import save_encoder_files
from shapca.runs.epochs import SELECTION, EpochRecord, FitResult, Status, best_of, read_result
from shapca.runs.layout import RESULT
from shapca.runs.run_record import (
    Environment,
    claim_run,
    describe_run,
    find_run,
    record_environment,
)
from shapca.runs.tensors import pack
from shapca.storage import ObjectStore, to_json
from shapca.training.collapse import alignment_of, warn_of_collapse
from shapca.training.learning import Diverged, Learner, StepProgress
from shapca.training.random_state import RandomState
from shapca.words import counted

logger = logging.getLogger(__name__)
MOST_UNCOMMITTED_SECONDS = 300.0
"""Training that may be lost where a checkpoint is not written after each epoch."""


class Training:
    """One run: trains an epoch at a time and keeps everything in its store.

    A store that holds a part of the same run is taken up where it stands; the outcome is
    bit-identical on a CPU to that of a run never interrupted, for a fixed number of threads. Epochs
    are committed to the store every `runtime.checkpoint_every` (1 where it says nothing), and after
    five minutes at the latest.

    Args:
        config: What to train.
        data: The prepared data set.
        seed: Seed of all that is random: weights, data order, dropout, permutations.
        runtime: Device, threads and workers.
        store: Where the run keeps what it makes.
        on_step: Called after every batch.

    Attributes:
        history: Records of the epochs completed so far.
        num_committed: How many of them the store has.

    Raises:
        InputError: config and data do not fit, or the store holds another run.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        data: PreparedData,
        *,
        seed: int,
        runtime: RuntimeConfig,
        store: ObjectStore,
        on_step: Callable[[StepProgress], None] | None = None,
    ) -> None:
        self.config = config
        self.data = data
        self.seed = seed
        self.runtime = runtime
        self.device = set_up(runtime)
        self._store = store
        self._on_step = on_step
        self._learner: Learner | None = None
        self._valid: EncodedSplit | None = None
        asked = describe_run(config, data, seed, self.device)
        found = find_run(store, asked)
        self._record = found or asked
        self._is_begun = found is not None  # else the store has nothing of it
        self._result = read_result(store) if self._is_begun else None
        self._checkpoints = Checkpoints(store)
        self._best: Best | None = None
        self._found: Checkpoint | None = None  # until the model is built
        self._committed_at = time.monotonic()
        self.history: list[EpochRecord] = []
        if self._result is not None:
            self.history += load_history(store, self._result["epochs_run"])
            # What a process left that was killed after it wrote the result.
            self._checkpoints.find()
            self._checkpoints.remove(self._result["best_epoch"])
        elif self._is_begun and (there := self._checkpoints.load()) is not None:
            self._found, self._best = there, there.best
            self.history += there.state.history
        self.num_committed = len(self.history)

    @property
    def best(self) -> EpochRecord | None:
        """The best epoch so far (`best_of`), or None before the first."""
        return best_of(self.history) if self.history else None

    @property
    def is_complete(self) -> bool:
        """Whether no epoch is left to train."""
        return self._result is not None or self._end() is not None

    def epochs(self) -> Iterator[EpochRecord]:
        """Train the epochs that are left.

        Each is committed to the store before it is yielded, or one of `checkpoint_every`.

        Ends after the last epoch, after `patience` epochs without a better validation F1, or
        where a loss or gradient is not finite: the run is then `diverged`, and finished.
        """
        while not self.is_complete:
            try:
                record = self._run_epoch(len(self.history) + 1)
            except Diverged as error:
                self._close_run("diverged", str(error))
                return
            except BaseException as error:
                if isinstance(error, torch.OutOfMemoryError | MemoryError):
                    error.add_note(
                        f"out of memory in epoch {len(self.history) + 1}: "
                        f"batch size {self.config.optimisation.batch_size}, "
                        f"peak {peak_memory_mb(self.device):,.0f} MiB"
                    )
                self.close()  # half an epoch is in the weights: the next attempt reads the store
                raise
            yield record

    @property
    def codes(self) -> tuple[str, ...]:
        """Fingerprints of the code that has worked on the run."""
        return tuple(environment.code for environment in self._record.environments)

    def finish(self, *, test: bool) -> FitResult:
        """End the run, or report where it was stopped.

        Where epochs are left the run stays resumable and its status is `stopped`. Otherwise its
        result is written and its checkpoint removed; the best weights stay.

        Args:
            test: Evaluate the best weights on the test split, once: asked again, the stored scores
                are read. A run that is stopped or diverged is not tested.
        """
        result = self._result
        if result is None:
            reason = self._end()
            if reason is None:
                self._commit()
                self.close()
                stopped = f"stopped after {counted(len(self.history), 'epoch')}"
                return self._fit_result("stopped", stopped)
            result = self._close_run("finished", reason)
        self.close()
        evaluation = None
        if test and result["status"] == "finished":
            tested = evaluate_run(self._store, self.data, split="test", runtime=self.runtime)
            evaluation = tested.evaluation
        return self._fit_result(result["status"], result["reason"], evaluation)

    def close(self) -> None:
        """Free the model's memory; what is committed stays, and only that."""
        self._learner = self._found = None
        if len(self.history) > self.num_committed:
            del self.history[self.num_committed :]
            self._best = None  # the checkpoint says which it is
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _prepare(self) -> Learner:
        """Model, optimizer and encoded posts, as the last committed epoch left them.

        A new run takes its store only now: one whose weights or posts prove to be bad input leaves
        nothing behind, so that the corrected one may have the place.
        """
        random = RandomState(self.seed, self.device)
        checkpoint = self._found or (self._checkpoints.load() if self.num_committed else None)
        self._found = None
        with random.active():
            model = build_model(
                self.config, self.data.labels, device=self.device, pretrained=checkpoint is None
            )
        learner = Learner(
            self.config,
            model,
            encode_split(self.config, self.data, "train", model.image),
            seed=self.seed,
            random=random,
            device=self.device,
            num_workers=self.runtime.num_workers,
        )
        self._record = claim_run(self._store, self._record)
        self._is_begun = True
        if checkpoint is None:
            save_encoder_files(self._store, self.config, model.text, model.image)
        else:
            learner.load(checkpoint.state, checkpoint.tensors())
            self._best = checkpoint.best
        environment = Environment.current(len(self.history) + 1, self.device)
        self._record = record_environment(self._store, self._record, environment)
        return learner

    def _run_epoch(self, epoch: int) -> EpochRecord:
        """Train and validate one epoch, and commit it if it is time to."""
        started = time.perf_counter()
        if self._learner is None:
            self._learner = self._prepare()
        learner = self._learner
        with learner.random.active():
            metrics = learner.train_epoch(epoch, self._on_step)
            validated = time.perf_counter()
            validation, health = self._validate(learner.model)
        scores = {**validation.evaluation.metrics, **health}
        metrics |= {f"val/{name}": value for name, value in scores.items()}
        metrics["val/seconds"] = time.perf_counter() - validated
        metrics["peak_memory_mb"] = peak_memory_mb(self.device)
        best = self.best
        record = EpochRecord(
            epoch=epoch,
            metrics=metrics,
            is_best=best is None or metrics[SELECTION] > best.metrics[SELECTION],
            seconds=time.perf_counter() - started,
            finished_at=time.time(),
        )
        self.history.append(record)
        if record.is_best:
            self._best = Best(epoch, validation.to_json(), pack(learner.model.state_dict()))
        every = self.runtime.checkpoint_every or 1
        is_due = epoch - self.num_committed >= every
        is_due = is_due or time.monotonic() - self._committed_at >= MOST_UNCOMMITTED_SECONDS
        if is_due and (every == 1 or self._end() is None):
            self._commit()
        return record

    def _commit(self) -> None:
        """Write the epochs that the store does not have yet."""
        records = self.history[self.num_committed :]
        if not records:
            return
        learner, best = self._learner, self._best
        assert learner is not None
        assert best is not None
        history = tuple(self.history)
        state = TrainingState(learner.step, best.epoch, learner.random.to_json(), history)
        self._best = self._checkpoints.save(state, learner.tensors(), best, records)
        self.num_committed = len(history)
        self._committed_at = time.monotonic()

    def _validate(self, model: ShapCA) -> tuple[EvaluationRecord, dict[str, float]]:
        """Scores on the validation split, and how the alignment does there."""
        labels, health = self.data.labels, AlignmentHealth(read_together=model.reads_together)
        if self._valid is None:
            self._valid = encode_split(self.config, self.data, "valid", model.image)
        settings = self.config.optimisation
        found = predict_split(
            model, self._valid, labels,
            batch_size=settings.batch_size, precision=settings.precision, device=self.device,
            num_workers=self.runtime.num_workers, health=health,
        )  # fmt: skip
        scores = score(self._record.reading, labels, self.data.splits["valid"], found)
        return EvaluationRecord(self._record.data, "valid", scores, {}, found), health.metrics()

    def _end(self) -> str | None:
        """Why no epoch is left, or None."""
        settings = self.config.optimisation
        if not self.history:
            return None
        since = len(self.history) - best_of(self.history).epoch
        if since >= settings.patience:
            return f"no better validation F1 for {counted(since, 'epoch')}"
        if len(self.history) >= settings.epochs:
            return f"all {settings.epochs} epochs trained"
        return None

    def _close_run(self, status: Status, reason: str) -> dict[str, Any]:
        """Write the run's result and remove what only going on would need."""
        if (best := self._best) is not None:
            self._best = self._checkpoints.save_best(best)
            self._store.put(VALID, to_json(best.evaluation))
        self._checkpoints.save_records(self.history[self.num_committed :])
        self.num_committed = len(self.history)
        warn_of_collapse(self.history, self.config.alignment)
        result = self._fit_result(status, reason).to_json()
        self._store.put(RESULT, to_json(result))
        self._checkpoints.remove(result["best_epoch"])
        self._result = result
        self.close()
        return result

    def _fit_result(self, status: Status, reason: str, test: Evaluation | None = None) -> FitResult:
        best = self.best
        return FitResult(
            status=status,
            reason=reason,
            best_epoch=None if best is None else best.epoch,
            best_metrics={} if best is None else best.metrics,
            epochs_run=len(self.history),
            test=test,
            alignment=alignment_of(self.history, self.config.alignment),
        )
