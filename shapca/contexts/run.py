"""A run over all pictures: what is there already stays, the rest is generated and kept at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapca.contexts.answering import AGAIN, Answered, Picture, Task, answer_pictures
from shapca.contexts.generators.endpoint import EndpointStopped
from shapca.contexts.generators.generator import Identity
from shapca.contexts.generators.opening import identify, open_generator
from shapca.contexts.pictures import PictureSource, sha256
from shapca.contexts.record_file import RecordFile
from shapca.contexts.report import GenerationReport, summary
from shapca.contexts.settings import GenerationSettings
from shapca.data.images import Progress
from shapca.data.preparation.captions import import_contexts
from shapca.data.preparation.context_record import ContextRecord, Status
from shapca.errors import InputError

Answers = Generator[Answered, None, None]
Execute = Callable[[Iterable[Sequence[Picture]], GenerationSettings, Identity], Answers]
"""Answers batches of pictures, in any order."""

GIVE_UP_AFTER = 20


def alone(
    batches: Iterable[Sequence[Picture]], settings: GenerationSettings, identity: Identity
) -> Answers:
    """Answer in this process, the next batch being read meanwhile."""
    generator = open_generator(settings)
    for batch in _read_ahead(iter(batches)):
        yield answer_pictures(generator, batch, settings, identity)


def generate_contexts(
    source: PictureSource,
    settings: GenerationSettings,
    out: Path,
    *,
    execute: Execute = alone,
    retry_failed: bool = False,
    max_cost: float | None = None,
    progress: Progress = lambda *_: None,
) -> GenerationReport:
    """Write the contexts of pictures to a file, or resume where an earlier run stopped.

    Args:
        source: The pictures.
        settings: Generator, prompt and sampling.
        out: JSONL file of records; one that holds some of them is added to.
        execute: How batches are answered.
        retry_failed: Ask again about pictures whose answers were empty, refused or over-long.
        max_cost: Stop when this run has cost more.
        progress: Told of pictures hashed and of contexts done.

    Raises:
        InputError: the generator cannot be used, the file is another's, or a limit on the cost
            where none is counted.
    """
    _check_cost_is_counted(settings, max_cost)
    began = time.perf_counter()
    identity = identify(settings)
    with RecordFile(out, identity) as file:
        if settings.kind == "captions":
            return keep_captions(source, Path(settings.name), file, identity)
        run = _Run(source, settings, file, identity, retry_failed, progress)
        stopped = run.execute(execute, max_cost)
        file.tidy()
        return run.report(time.perf_counter() - began, stopped)


def keep_captions(
    source: PictureSource, captions: Path, file: RecordFile, identity: Identity
) -> GenerationReport:
    """Write ready-made captions (BU, VinVL and others) as records of the same form.

    They go by image id, so the pictures themselves need not be there. An image id without a caption
    is `missing`, never filled.

    Raises:
        InputError: the captions cannot be read, or belong to none of the images.
    """
    began = time.perf_counter()
    images = sorted({*source, *source.absent})
    texts, _ = import_contexts([captions], images)
    new = []
    for image in images:
        if image not in file.records:
            text = texts.get(image)
            status: Status = "missing" if text is None else "ok" if text else "empty"
            new.append(identity.signed(ContextRecord(image, None, status, text=text or "")))
    file.append(new)
    file.tidy()
    statuses, reasons = summary(file.records[image] for image in images)
    return GenerationReport(
        num_images=len(images),
        num_kept=len(images) - len(new),
        num_generated=len(new),
        num_absent=len(source.absent),
        num_cut=file.num_cut,
        statuses=statuses,
        reasons=reasons,
        seconds=time.perf_counter() - began,
    )


def _check_cost_is_counted(settings: GenerationSettings, max_cost: float | None) -> None:
    prices = (settings.endpoint.price_in, settings.endpoint.price_out)
    if max_cost is not None and (settings.kind != "openai" or prices == (None, None)):
        raise InputError(
            "--max-cost: expected openai:MODEL with --price-in, --price-out or both; without a "
            "price no cost is counted, and the limit would never be reached"
        )


@dataclass
class _Run:
    """One run: its plan, and what it has spent."""

    source: PictureSource
    settings: GenerationSettings
    file: RecordFile
    identity: Identity
    retry_failed: bool
    progress: Progress

    def __post_init__(self) -> None:
        self._images = list(self.source)
        self._spent: list[tuple[ContextRecord | None, ContextRecord]] = []
        self._num_same = 0
        self._others: dict[str, list[str]] = {}
        self._plan()

    def _plan(self) -> None:
        """Hash every picture; find out which need an answer, each distinct picture once."""
        known = dict(self.file.records)
        by_hash = {r.image_sha256: r for r in known.values() if self._is_final(r)}
        self._tasks: list[Task] = []
        copies: list[ContextRecord] = []
        first: dict[str, str] = {}
        self._num_kept = 0
        for done, image in enumerate(self._images, start=1):
            content, reason = self._read(image)
            content_hash = None if content is None else sha256(content)
            record = known.get(image)
            if content_hash is None:
                broken = ContextRecord(image, None, "broken_image", reason=reason)
                copies.append(self.identity.signed(broken))
            elif record and record.image_sha256 == content_hash and self._is_final(record):
                self._num_kept += 1
            elif content_hash in by_hash:
                copies.append(by_hash[content_hash].copied_to(image))
                self._num_same += 1
            elif content_hash in first:
                self._others.setdefault(content_hash, []).append(image)
            else:
                first[content_hash] = image
                same = record is not None and record.image_sha256 == content_hash
                self._tasks.append(Task(image, content_hash, record if same else None))
            self.progress("pictures hashed", done, len(self._images))
        self.file.append(copies)

    def _is_final(self, record: ContextRecord) -> bool:
        return record.status != "failed" and not (self.retry_failed and record.status in AGAIN)

    def _read(self, image: str) -> tuple[bytes | None, str | None]:
        try:
            return self.source.read(image), None
        except OSError as error:
            return None, f"{type(error).__name__}: {error.strerror or error}"

    def execute(self, execute: Execute, max_cost: float | None) -> str | None:
        """Do the work; why it ended early, or `None`."""
        if not self._tasks:
            return None
        size = self.settings.batch_size
        starts = range(0, len(self._tasks), size)
        batches = ([self._picture(task) for task in self._tasks[i : i + size]] for i in starts)
        before = {task.sha256: task.before for task in self._tasks}
        num_done = num_failed = 0
        with contextlib.closing(execute(batches, self.settings, self.identity)) as answers:
            for answered in answers:
                records, error = answered.records, answered.error
                self._keep(records, before)
                for record in records:
                    num_failed = num_failed + 1 if record.status == "failed" else 0
                    if num_failed >= GIVE_UP_AFTER:
                        return f"{num_failed} pictures in a row failed: {record.reason}"
                num_done += len(records)
                self.progress("contexts", num_done, len(self._tasks))
                if max_cost is not None:
                    if (self._total("cost") or 0.0) > max_cost:
                        return f"the cost has passed {max_cost:g} (--max-cost)"
                    if any(_is_uncounted(record) for record in records):
                        return (
                            "the endpoint does not report the tokens used (`usage`), or not as "
                            "numbers that can be, so --max-cost cannot be kept"
                        )
                if isinstance(error, EndpointStopped):
                    return str(error)
                if error is not None:
                    raise error
        return None

    def _picture(self, task: Task) -> Picture:
        content, reason = self._read(task.image)
        if content is not None and sha256(content) != task.sha256:
            content, reason = None, "changed while the run was at work"
        return Picture(task, content, reason)

    def _keep(
        self, records: Sequence[ContextRecord], before: Mapping[str, ContextRecord | None]
    ) -> None:
        lines = []
        for record in records:
            lines.append(record)
            self._spent.append((before.get(record.image_sha256 or ""), record))
            for other in self._others.get(record.image_sha256 or "", ()):
                lines.append(record.copied_to(other))
                self._num_same += 1
        self.file.append(lines)

    def _total(self, name: str) -> Any:
        """What this run has spent, None where nobody counts: records count earlier runs too."""
        total = None
        for before, record in self._spent:
            value = getattr(record, name)
            if value is not None:
                earlier = (getattr(before, name) or 0) if before is not None else 0
                total = (total or 0) + value - earlier
        return total

    def report(self, seconds: float, stopped: str | None) -> GenerationReport:
        records = [self.file.records[i] for i in self._images if i in self.file.records]
        statuses, reasons = summary(records)
        return GenerationReport(
            num_images=len(self._images),
            num_kept=self._num_kept,
            num_generated=len(self._spent),
            num_same=self._num_same,
            num_absent=len(self.source.absent),
            num_cut=self.file.num_cut,
            statuses=statuses,
            reasons=reasons,
            retries=self._total("retries") or 0,
            attempts=self._total("attempts") or 0,
            prompt_tokens=self._total("prompt_tokens"),
            tokens=self._total("tokens"),
            cost=self._total("cost"),
            seconds=seconds,
            stopped=stopped,
        )


def _is_uncounted(record: ContextRecord) -> bool:
    """Whether a model said something and nobody counted what it costs."""
    said = record.status in ("ok", "empty", "over_long") or record.answer is not None
    return said and record.cost is None


def _read_ahead(batches: Iterator[Sequence[Picture]]) -> Iterator[Sequence[Picture]]:
    """The same batches, each read while the one before it is worked on."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(next, batches, None)
        while (batch := future.result()) is not None:
            future = pool.submit(next, batches, None)
            yield batch
