"""Models of other encoders than BERT: registered, served, and the same as `shapca predict`."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

import shapca.cli
from orchestrator.tracking.models.model_package import requirements, tokenizer_packages
from shapca.config import RuntimeConfig
from shapca.data.prepared import PreparedData
from shapca.model.encoders import load_tokenizer
from shapca.storage import FolderStore, SubStore
from shapca.training import fit
from tests.encoder_families import save_image_encoder, save_text_encoder
from tests.factories import tiny_config
from tests.orchestrator.publishing import finished, parent, trial, write
from tests.orchestrator.tracking.models.test_registry import (
    FRESH,
    MODEL,
    answer,
    files,
    picture_of,
    sync,
)

RUNTIME = RuntimeConfig(device="cpu", num_threads=1)
TEXT, CONTEXT = "Kevin Durant enters Oracle Arena", "a man on a field"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "image"), [("roberta", "siglip"), ("deberta-v3", "dinov2"), ("bertweet", "swin")]
)
def test_a_served_model_needs_its_encoders_no_more(
    text: str, image: str, tiny_mner: PreparedData, mlflow_uri: str, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path / "storage")
    folders = save_text_encoder(text, tmp_path / text), save_image_encoder(image, tmp_path / image)
    config = tiny_config(
        **{
            "text.encoder": str(folders[0]), "image.encoder": str(folders[1]),
            "image.weights": "pretrained", "image.size": 32, "optimisation.epochs": 10,
        }
    )  # fmt: skip
    cell = SubStore(store, "cells/aa")
    fit(config, tiny_mner, seed=1, runtime=RUNTIME, store=cell, test=True)
    for folder in folders:
        shutil.rmtree(folder)
    write(store, finished(parent()), replace(finished(trial("aa")), model=MODEL))
    assert sync(store, mlflow_uri) == {}

    file = picture_of(tiny_mner, tmp_path)
    content = base64.b64encode(file.read_bytes()).decode()
    posts = [{"text": TEXT}, {"text": TEXT, "context": CONTEXT, "image_base64": content}]
    out = subprocess.run(
        [sys.executable, "-c", FRESH, str(files(mlflow_uri))],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, input=json.dumps(posts),
        capture_output=True, text=True,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    served = [answers for [answers] in json.loads(out.stdout.splitlines()[-1])["answers"]]
    more = ("--context", CONTEXT, "--image", str(file))
    run = str(store.root / "cells" / "aa")
    said = [
        answer(shapca.cli.app, "predict", run, "--text", TEXT, "--device", "cpu", *options)
        for options in ((), more)
    ]
    assert served == said
    assert any(post["entities"] for post in said)


@pytest.mark.parametrize("normalization", [True, False])
def test_a_tokenizer_that_spells_emoji_out_requires_their_package(
    normalization: bool, tmp_path: Path
) -> None:
    pytest.importorskip("emoji")
    folder = save_text_encoder("bertweet", tmp_path / "bertweet")
    (folder / "tokenizer_config.json").write_text(json.dumps({"normalization": normalization}))
    load_tokenizer(str(folder)).save_pretrained(tmp_path / "run" / "encoder" / "text")
    packages = tokenizer_packages(tmp_path / "run")
    assert packages == (("emoji",) if normalization else ())
    pinned = [line for line in requirements(packages) if line.startswith("emoji")]
    assert pinned == ([f"emoji=={version('emoji')}"] if normalization else [])
    assert tokenizer_packages(tmp_path) == ()  # a tokenizer that comes with the package
