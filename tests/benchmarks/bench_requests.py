"""What a trial of ten epochs asks of a bucket: requests that an S3 stand-in on loopback got.

Driver and trial together, MLflow aside; every epoch is the best so far, so that as much as possible
is written, and the weights of the trial before are removed. Beside it what a checkpoint after every
epoch would ask. Objects of more than 5 MB go in parts, which are requests too; these are smaller.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store.address import open_store
from orchestrator.sweeps.trials.runner import EPOCHS_A_CHECKPOINT
from tests.clouds import serve_s3
from tests.orchestrator.sweeps.trials.test_requests import (
    MOST_REQUESTS,
    conduct,
    sweep_of,
    with_rising_scores,
)

pytestmark = pytest.mark.bench


def test_requests_of_a_trial(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import boto3

    found = {}
    for every in (EPOCHS_A_CHECKPOINT, 1):
        with serve_s3() as address, pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "AWS_ENDPOINT_URL": address,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_DEFAULT_REGION": "us-east-1",
            }.items():
                patch.setenv(name, value)
            bucket = f"every-{every}"
            boto3.client("s3").create_bucket(Bucket=bucket)
            with_rising_scores(monkeypatch)
            caplog.clear()
            starts: list[int] = []
            with caplog.at_level("INFO", logger="werkzeug"):
                conduct(
                    open_store(f"s3://{bucket}/storage"), sweep_of(3, 10), tiny_root, every,
                    lambda starts=starts: starts.append(len(caplog.records)),
                )  # fmt: skip
            found[every] = starts[3] - starts[2]
    print(
        f"\na trial of ten epochs in a bucket: {found[EPOCHS_A_CHECKPOINT]} requests with a "
        f"checkpoint every {EPOCHS_A_CHECKPOINT} epochs, {found[1]} with one after each"
    )
    assert found[EPOCHS_A_CHECKPOINT] <= MOST_REQUESTS
