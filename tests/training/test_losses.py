"""The losses: over annotated rows alone, masked before the mean, and equal to the challenge's metric."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from abawkit.scoring.metrics import ccc
from abawkit.training.losses import au_loss, expression_loss, va_loss

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

N = 9
VALID = torch.tensor([True, False, True, True, False, True, True, False, True])
WIDTHS = {va_loss: 2, expression_loss: 8, au_loss: 12}
LOSSES = pytest.mark.parametrize("loss", list(WIDTHS), ids=["va", "expression", "au"])


def batch(loss: Loss, dtype: torch.dtype = torch.float64, rows: int = N) -> tuple[Tensor, Tensor]:
    """Predictions and annotations of one task."""
    generator = torch.Generator().manual_seed(5)
    prediction = torch.randn(rows, WIDTHS[loss], generator=generator, dtype=dtype)
    if loss is va_loss:
        return prediction.tanh(), torch.rand(rows, 2, generator=generator, dtype=dtype) * 2 - 1
    if loss is expression_loss:
        return prediction, torch.randint(0, 8, (rows,), generator=generator)
    return prediction, torch.randint(0, 2, (rows, 12), generator=generator).to(dtype)


def gradient(loss: Loss, prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    leaf = prediction.clone().requires_grad_()
    value = loss(leaf, target, valid)
    (grad,) = torch.autograd.grad(value, leaf)
    return value.detach(), grad


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("rows", [2, 3, 9, 64])
def test_va_loss_is_one_less_the_mean_ccc_of_the_annotated_rows(
    dtype: torch.dtype, tolerance: float, rows: int
) -> None:
    prediction, target = batch(va_loss, dtype, rows)
    valid = torch.ones(rows, dtype=torch.bool)
    valid[2::3] = False
    x, y = prediction[valid].double().numpy(), target[valid].double().numpy()
    expected = 1 - (ccc(y[:, 0], x[:, 0]) + ccc(y[:, 1], x[:, 1])) / 2
    assert va_loss(prediction, target, valid).item() == pytest.approx(expected, abs=tolerance)


def test_va_loss_of_three_rows_by_hand() -> None:
    x, y = torch.tensor([0.0, 0.3, 0.6]), torch.tensor([0.0, 0.1, 0.5])
    # means 0.3 and 0.2; cov = (0.3*0.2 + 0 + 0.3*0.3)/3 = 0.05; var 0.06 and 0.14/3; (mean difference)^2 = 0.01
    expected = 2 * 0.05 / (0.06 + 0.14 / 3 + 0.01)
    prediction, target = torch.stack([x, y], 1), torch.stack([y, y], 1)  # arousal is perfect: CCC 1
    valid = torch.ones(3, dtype=torch.bool)
    assert va_loss(prediction, target, valid).item() == pytest.approx(1 - (expected + 1) / 2, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("constant", [0.0, 0.1, 0.3, -1.0])
@pytest.mark.parametrize("rows", [2, 3, 7])
@pytest.mark.parametrize("which", ["prediction", "target", "both"])
def test_constant_predictions_or_annotations_have_ccc_zero_and_a_finite_gradient(
    dtype: torch.dtype, constant: float, rows: int, which: str
) -> None:
    prediction, target = batch(va_loss, dtype, rows)
    if which != "target":
        prediction = torch.full_like(prediction, constant)
    if which != "prediction":
        target = torch.full_like(target, constant)
    value, grad = gradient(va_loss, prediction, target, torch.ones(rows, dtype=torch.bool))
    assert value.item() == pytest.approx(1.0, abs=1e-6)
    assert grad.isfinite().all()


@LOSSES
@pytest.mark.parametrize("junk", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_predictions_in_rows_without_annotation_change_neither_loss_nor_gradient(loss: Loss, junk: float) -> None:
    prediction, target = batch(loss)
    value, grad = gradient(loss, prediction, target, VALID)
    other = torch.where(VALID.unsqueeze(1), prediction, junk)
    other_value, other_grad = gradient(loss, other, target, VALID)
    assert torch.equal(other_value, value)
    assert torch.equal(other_grad, grad)
    assert (grad[~VALID] == 0).all()
    assert (grad[VALID] != 0).any(dim=1).all()


@pytest.mark.parametrize(
    ("loss", "junk"), [(va_loss, float("nan")), (va_loss, -5.0), (expression_loss, -1), (au_loss, -1.0)]
)
def test_annotations_in_rows_without_annotation_change_neither_loss_nor_gradient(loss: Loss, junk: float) -> None:
    prediction, target = batch(loss)
    value, grad = gradient(loss, prediction, target, VALID)
    mask = VALID if target.ndim == 1 else VALID.unsqueeze(1)
    other_value, other_grad = gradient(loss, prediction, torch.where(mask, target, junk), VALID)
    assert torch.equal(other_value, value)
    assert torch.equal(other_grad, grad)


@LOSSES
def test_the_mask_comes_before_the_mean_so_missing_rows_might_as_well_be_absent(loss: Loss) -> None:
    prediction, target = batch(loss)
    alone = loss(prediction[VALID], target[VALID], torch.ones(int(VALID.sum()), dtype=torch.bool))
    assert loss(prediction, target, VALID).item() == pytest.approx(alone.item(), abs=1e-12)


@pytest.mark.parametrize(("loss", "valid_rows"), [(va_loss, 0), (va_loss, 1), (expression_loss, 0), (au_loss, 0)])
@pytest.mark.parametrize("agree", [False, True])
def test_a_batch_with_too_few_annotated_rows_adds_exactly_zero(loss: Loss, valid_rows: int, agree: bool) -> None:
    prediction, target = batch(loss)
    if agree and loss is va_loss:
        prediction = target.clone()
    valid = torch.arange(N) < valid_rows
    value, grad = gradient(loss, prediction, target, valid)
    assert value.item() == 0.0
    assert torch.equal(grad, torch.zeros_like(grad))


def test_a_row_with_no_active_unit_is_annotated_and_counts() -> None:
    logits = torch.full((2, 12), 3.0)
    target = torch.zeros(2, 12)
    target[0] = 1.0
    first, second = np.log1p(np.exp(-3.0)), np.log1p(np.exp(3.0))  # active row is right, idle row is wrong
    value = au_loss(logits, target, torch.tensor([True, True]))
    assert value.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_a_missing_expression_does_not_train_as_neutral() -> None:
    logits = torch.zeros(2, 8)
    _, grad = gradient(expression_loss, logits, torch.tensor([3, 0]), torch.tensor([True, False]))
    expected = torch.full((8,), 1 / 8)
    expected[3] -= 1
    torch.testing.assert_close(grad, torch.stack([expected, torch.zeros(8)]))


def test_expression_loss_divides_by_the_weights_of_the_rows() -> None:
    logits = torch.zeros(3, 8)
    logits[:, 0] = np.log(9.0)  # p = 9/16 for class 0 and 1/16 for the others
    weights = torch.tensor([1.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    target, valid = torch.tensor([0, 1, 1]), torch.tensor([True, True, False])
    expected = (1 * np.log(16 / 9) + 3 * np.log(16.0)) / (1 + 3)
    assert expression_loss(logits, target, valid, weights).item() == pytest.approx(expected, rel=1e-6)


def test_expression_loss_of_classes_that_weigh_nothing_is_zero() -> None:
    value = expression_loss(torch.randn(2, 8), torch.tensor([1, 1]), torch.tensor([True, True]), torch.zeros(8))
    assert value.item() == 0.0


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_expression_loss_is_that_of_torch_on_the_annotated_rows(smoothing: float, weighted: bool) -> None:
    logits, target = batch(expression_loss)
    weights = torch.linspace(0.5, 2.0, 8, dtype=torch.float64) if weighted else None
    expected = F.cross_entropy(logits[VALID], target[VALID], weight=weights, label_smoothing=smoothing)
    assert expression_loss(logits, target, VALID, weights, smoothing).item() == pytest.approx(
        expected.item(), abs=1e-12
    )


def test_positive_weights_count_for_their_own_unit_alone() -> None:
    logits, target = torch.zeros(1, 12), torch.zeros(1, 12)
    target[0, 4] = 1.0
    weights = torch.ones(12)
    weights[4] = 5.0
    value = au_loss(logits, target, torch.tensor([True]), weights)
    assert value.item() == pytest.approx((11 + 5) * np.log(2) / 12, rel=1e-6)


@LOSSES
@pytest.mark.parametrize("rows", [0, 1, 2, 9])
def test_gradients_are_the_derivatives(loss: Loss, rows: int) -> None:
    prediction, target = batch(loss)
    valid = torch.arange(N) < rows
    prediction.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(p, target, valid), (prediction,), atol=1e-6)


@LOSSES
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_outputs_are_reduced_in_float32(loss: Loss, dtype: torch.dtype) -> None:
    prediction, target = batch(loss, torch.float32)
    value = loss(prediction.to(dtype), target, VALID)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(prediction.to(dtype).float(), target, VALID).item(), rel=1e-6)
