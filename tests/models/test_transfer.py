"""Copies between host and device: many tensors in one block for each type, and back in their shapes."""

import pytest
import torch
from torch import Tensor

from abawkit.models import devices as transfer
from abawkit.models.devices import Download, pin_memory, to_host, upload

CPU = torch.device("cpu")


def test_on_a_cpu_nothing_is_copied() -> None:
    values = torch.arange(3.0)
    assert pin_memory(values, CPU) is values
    assert upload(values, CPU) is values
    assert Download(values).wait() is values
    assert to_host({"a": values})["a"].data_ptr() == values.data_ptr()


def test_a_copy_on_a_cpu_lies_in_memory_as_the_tensor_does_and_stays_as_it_was() -> None:
    values = torch.arange(6.0, requires_grad=True).view(2, 3).t()
    found = to_host({"a": values}, copy=True)["a"]
    values.detach().zero_()
    assert found.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert found.stride() == values.stride()
    assert not found.requires_grad


class Away(Tensor):
    """A tensor that says it is on another device."""

    is_cpu = False


def test_tensors_come_to_the_host_by_type_each_in_its_shape_and_in_memory_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks: list[tuple[torch.dtype, int]] = []

    class Counted(Download):
        def __init__(self, values: Tensor) -> None:
            blocks.append((values.dtype, values.numel()))
            super().__init__(values)

    monkeypatch.setattr(transfer, "Download", Counted)
    tensors = {
        "weight": torch.arange(24.0).view(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        "count": torch.tensor(7),
        "bias": torch.tensor([1.0, -0.0]),
        "none": torch.zeros(0, 3),
        "counts": torch.tensor([2**40]),
    }
    found = to_host({name: value.as_subclass(Away) for name, value in tensors.items()})
    assert blocks == [(torch.float32, 26), (torch.int64, 2)]
    assert list(found) == list(tensors)
    for name, value in tensors.items():
        assert torch.equal(found[name], value)
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert found[name].is_contiguous()
    assert len({value.untyped_storage().data_ptr() for value in found.values() if value.numel()}) == 4
