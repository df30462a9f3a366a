"""The model that MLflow serves: MLflow copies this file beside a run's weights and executes it.

A request is a table of posts (`dataframe_records` and the like), a row a post, with the columns of
`shapca.prediction.request`. The answer has `text`, `entities` and `relations` for every post, those
that were found with a `confidence`. SHAPCA_DEVICE chooses the device, SHAPCA_PRECISION how it
computes. Requests that come while another is read share one pass.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from shapca.errors import InputError

DEVICE = "SHAPCA_DEVICE"
PRECISION = "SHAPCA_PRECISION"


class ServedModel(PythonModel):  # type: ignore[misc, unused-ignore]
    """Entities and relations of posts, by the best weights of one run."""

    def load_context(self, context: Any) -> None:
        """Read the weights; MLflow calls this once.

        Args:
            context: MLflow's; its artifact `run` is the archive of the run.
        """
        from shapca.config import RuntimeConfig
        from shapca.prediction import Extractor
        from shapca.prediction.gathering import GatheringExtractor
        from shapca.storage.archive import ArchiveStore

        runtime = RuntimeConfig(device=os.environ.get(DEVICE, "auto"))
        run = ArchiveStore(Path(context.artifacts["run"]))
        extractor = Extractor.load(run, precision=os.environ.get(PRECISION), runtime=runtime)
        self._extractor = GatheringExtractor(extractor)

    def predict(
        self, context: Any, model_input: pandas.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """What the model finds in each post.

        Args:
            context: MLflow's, not used.
            model_input: Table of posts.
            params: Not used.

        Raises:
            MlflowException: A post that is refused; nothing is predicted then. A server answers
                with status 400 and the message.
        """
        from shapca.prediction.request import extract

        try:
            return extract(self._extractor, model_input.to_dict("records"))
        except InputError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


set_model(ServedModel())
