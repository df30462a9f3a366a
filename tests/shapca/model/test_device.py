from __future__ import annotations

import pytest
import torch

from shapca.model.device import arithmetic


def flags() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.filterwarnings("ignore:User provided device_type")  # autocast without a GPU
@pytest.mark.parametrize(
    ("precision", "expected"),
    [("fp32", ("highest", False)), ("tf32", ("high", True)), ("bf16", ("highest", False))],
)
@pytest.mark.parametrize("before", [("highest", True), ("high", False)])
def test_cuda_computes_as_the_run_says_and_then_as_before(
    precision: str, expected: tuple[str, bool], before: tuple[str, bool]
) -> None:
    kept = flags()
    try:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
        with pytest.raises(ZeroDivisionError), arithmetic(torch.device("cuda"), precision):
            assert flags() == expected
            raise ZeroDivisionError
        assert flags() == before
    finally:
        torch.set_float32_matmul_precision(kept[0])
        torch.backends.cudnn.allow_tf32 = kept[1]


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_on_a_cpu_tf32_is_fp32(precision: str) -> None:
    before = flags()
    with arithmetic(torch.device("cpu"), precision):
        assert flags() == before
        assert torch.is_autocast_enabled("cpu") == (precision == "bf16")
