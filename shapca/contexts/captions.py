"""Ready-made captions (BU, VinVL and others) as records of the same form.

They go by image id, so the pictures themselves need not be there.
"""

from __future__ import annotations

import time
from pathlib import Path

from shapca.contexts.generators.generator import Identity
from shapca.contexts.pictures import PictureSource
from shapca.contexts.record_file import RecordFile
from shapca.contexts.report import GenerationReport, summary
from shapca.data.preparation.captions import import_contexts
from shapca.data.preparation.context_record import ContextRecord, Status


def keep_captions(
    source: PictureSource, captions: Path, file: RecordFile, identity: Identity
) -> GenerationReport:
    """Write a record for each image id; one without a caption is `missing`, never filled.

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
