"""What a script imports: the names of the packages, and nothing heavy before it is used."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest

FACES = {
    "shapca": {
        "ExperimentConfig", "PreparedData", "build_model", "fit", "evaluate_run", "Extractor",
        "Post", "shapley", "shapley_contrastive_loss", "entity_scores", "relation_scores",
        "joint_scores",
    },
    "orchestrator": {
        "SweepConfig", "StudyConfig", "run_sweep", "run_study", "SweepOptions", "SweepOutcome",
    },
    "shapca.config": {"ExperimentConfig", "RuntimeConfig", "read_yaml", "load_training_file"},
    "shapca.alignment": {
        "AlignmentLosses", "ContrastiveAlignment", "Similarities", "infonce_loss",
        "shapley_contrastive_loss",
    },
    "shapca.training": {"fit", "Training", "EpochRecord", "FitResult", "StepProgress"},
    "shapca.evaluation": {
        "evaluate_run", "stored_evaluation", "predict_examples", "EvaluationRecord",
    },
    "shapca.storage": {
        "ObjectStore", "FolderStore", "SubStore", "read_json", "to_json", "digest", "place_name",
        "make_private_folder",
    },
}  # fmt: skip


@pytest.mark.parametrize("package", FACES)
def test_a_face_shows_its_names_and_hands_them_on(package: str) -> None:
    module = importlib.import_module(package)
    assert FACES[package] <= set(dir(module))
    for name in dir(module):
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize("package", ["shapca", "orchestrator", "shapca.training"])
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    program = (
        f"import json, sys, time; began = time.perf_counter(); import {package}; "
        "print(json.dumps([time.perf_counter() - began, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    seconds, modules = json.loads(done.stdout)
    heavy = {"torch", "transformers", "numpy", "pydantic", "ray", "optuna", "mlflow"}
    assert heavy & set(modules) == set()
    assert seconds < 0.2


def test_a_hub_is_told_nothing_of_its_user() -> None:
    program = (
        "import shapca; from huggingface_hub import constants; "
        "from huggingface_hub.utils import build_hf_headers; "
        "print(constants.HF_HUB_DISABLE_TELEMETRY, 'agent/' in build_hf_headers()['user-agent'])"
    )
    environment = {name: value for name, value in os.environ.items() if name[:3] != "HF_"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["True", "False"], done.stderr
