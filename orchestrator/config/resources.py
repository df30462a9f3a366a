"""What one trial of a sweep occupies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from shapca.config import Number, Section


class ResourceConfig(Section):
    """What one trial occupies."""

    cpu: Annotated[Number, Field(gt=0)] = 1
    gpu: Annotated[Number, Field(ge=0)] | Literal["auto"] = 0.0
    """GPUs of a trial. A fraction shares one, which is bookkeeping and limits no memory; `auto` is
    the share that the forecast of a trial's memory leaves room for."""
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    """Trials at once; None: as many as the resources allow."""

    @field_validator("gpu", mode="wrap")
    @classmethod
    def _one_message(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """A value that is neither a number nor `auto` is one fault, not one of each kind."""
        try:
            return handler(value)
        except ValidationError as error:
            raise ValueError("expected GPUs of a trial, 0 or more, or auto") from error

    @property
    def gpus(self) -> float:
        """GPUs of a trial; `auto` that is not settled yet counts as one."""
        return 1 if self.gpu == "auto" else self.gpu
