"""Weights of an ensemble's members, fitted to annotations.

Expressions and action units: the linear opinion pool of greatest likelihood. With p_m(i) for the probability that
member m gave to what was annotated in observation i, the weights maximise

    L(w) = mean over i of log(sum over m of w_m p_m(i)),    w_m >= 0,  sum of w_m = 1.

L is concave, so a local maximum is the maximum. It is climbed by sequential quadratic programming: with
u(i) = 1 / sum of w_m p_m(i), the gradient is g_m = mean of u p_m and the Hessian -(mean of u^2 p_m p_k); the quadratic
model is maximised on the simplex, and steps are halved until they ascend. As L is concave and w'g = 1, L is at most
max(g) - 1 below its maximum: that is when to stop. EM, w_m <- w_m g_m, climbs to the same maximum with many times as
many passes over the rows.

Source: linear opinion pool, M. Stone, The opinion pool, 1961; EM for mixture proportions, Dempster, Laird and Rubin,
1977; sequential quadratic programming for them, Kim, Carbonetto, Stephens and Anitescu, https://arxiv.org/abs/1806.01412.

For the logarithmic pool with weights that sum to 1, the likelihood is concave as well: with l_m(c) for what member m
gives to label c as a logarithm, the pool q is the softmax of sum of w_m l_m, the gradient the mean of l_m of what was
annotated less its mean over q, and the Hessian less the mean of the covariance of the l_m over q. It is climbed alike.

Source: of the pool, see `abawkit.postprocessing.averaging`; gradient and Hessian of a softmax, C. Bishop, Pattern
Recognition and Machine Learning (2006), section 4.3.4.

Valence and arousal: least squares on the simplex, min |X w - y|^2 over both dimensions, from the moments X'X and X'y.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from abawkit.frame_columns import encode_images
from abawkit.labels import EXPRESSIONS, TASKS, Task
from abawkit.postprocessing.averaging import LINEAR, Pools, find_knowing_members, take_logs
from abawkit.probabilities.members import StoredMember, refuse_other_rows
from abawkit.tables import Annotations, Array
from abawkit.tuning.support import is_supported, rows_by_video

MIN_PROBABILITY: Final = 1e-6
"""Least probability of what was annotated, so that one annotation that a member excludes does not decide alone."""

GAP: Final = 1e-5
"""How far the mean log-likelihood may stay below its maximum."""

_STEPS: Final = 50
_HALVINGS: Final = 30
_RIDGE: Final = 1e-9  # of equal members each then gets the same weight
_DECIMALS: Final = 6


class WeightFit:
    """Members and annotations, prepared once, so that weights of many sets of rows are fitted in milliseconds.

    Args:
        members: Members of the rows of `truth`.
        truth: The annotations.

    Raises:
        DataError: If the rows are not the same.
    """

    def __init__(self, members: Sequence[StoredMember], truth: Annotations) -> None:
        for member in members:
            refuse_other_rows(member, truth)
        self.videos, _ = encode_images(truth.videos)
        self.keys = {task: [member.key for member in find_knowing_members(members, task)] for task in TASKS}
        self._truth = truth
        self._knowing = {task: find_knowing_members(members, task) for task in TASKS}
        self._columns = {task: _collect_columns(self._knowing[task], task, truth) for task in TASKS}

    def fit(self, rows: Mapping[Task, Array], pools: Pools = LINEAR) -> dict[Task, dict[str, float]]:
        """Fits the weights of each task.

        Args:
            rows: For each task a mask of the rows to learn from, (n,); rows without its annotation must not be in it.
            pools: How expressions and action units are pooled.

        Returns:
            For each task the weight of each member by its key, with six decimals, summing to 1 but for rounding. A task
            is absent, and takes the mean, where fewer than two members know it, or where too little is annotated: for
            VA fewer than `MIN_POSITIVES` rows or `MIN_VIDEOS` videos, else no expression or action unit that is in as
            many. Action units that are in fewer are not used.
        """
        found: dict[Task, dict[str, float]] = {}
        for task, mask in rows.items():
            chosen = np.flatnonzero(mask)
            frequent = self._find_frequent(task, chosen)
            if len(self.keys[task]) < 2 or not frequent.any():
                continue
            if pools.get(task) == "log":
                weights = fit_log_pool_weights(*self._collect_logs(task, chosen, frequent))
                found[task] = self._name_weights(task, weights)
                continue
            columns = self._columns[task][:, chosen]
            if task == "au":
                columns = columns[:, :, frequent]
            columns = columns.reshape(len(self.keys[task]), -1)
            if task == "va":
                weights = _least_squares(columns, self._truth.va[chosen].ravel())
            else:
                weights = fit_mixture_weights(columns)
            found[task] = self._name_weights(task, weights)
        return found

    def _name_weights(self, task: Task, weights: Array) -> dict[str, float]:
        return dict(zip(self.keys[task], np.round(weights, _DECIMALS).tolist(), strict=True))

    def _collect_logs(self, task: Task, chosen: Array, frequent: Array) -> tuple[Array, Array]:
        """Logarithms of each label's probability by member and observation, (m, N, c); annotated labels, (N,)."""
        values = [getattr(member.predictions, task)[chosen] for member in self._knowing[task]]
        if task == "expression":
            return np.stack([take_logs(task, p) for p in values]), self._truth.expression[chosen].astype(np.int64)
        logits = np.stack([take_logs(task, p)[:, frequent].ravel() for p in values])
        return np.stack([-logits / 2, logits / 2], axis=2), self._truth.au[chosen][:, frequent].ravel().astype(np.int64)

    def _find_frequent(self, task: Task, chosen: Array) -> Array:
        """Which labels of a task are in enough of the chosen rows, and of enough videos; for VA, whether rows are."""
        if task == "va":
            positive = np.ones((len(chosen), 1), dtype=bool)
        elif task == "expression":
            positive = self._truth.expression[chosen, None] == np.arange(len(EXPRESSIONS))
        else:
            positive = self._truth.au[chosen] == 1
        return is_supported(rows_by_video(positive, self.videos[chosen]))


def fit_mixture_weights(probabilities: Array) -> Array:
    """The weights of the mixture of greatest likelihood.

    Args:
        probabilities: What each of m members gave to each of n observations, (m, n), positive.

    Returns:
        float64, (m,), none negative, sum 1.
    """
    m, n = probabilities.shape
    weights = np.full(m, 1 / m)
    mixture = weights.astype(probabilities.dtype) @ probabilities
    likelihood = np.log(mixture).mean(dtype=np.float64)
    for _ in range(_STEPS):
        ratios = probabilities / mixture
        gradient = ratios.mean(axis=1, dtype=np.float64)
        if gradient.max() - 1 <= GAP:
            break
        curvature = (ratios @ ratios.T).astype(np.float64) / n
        # the model around w is g'(v - w) - (v - w)'H(v - w) / 2, and H w = g
        direction = minimise_on_simplex(curvature, 2 * gradient) - weights
        step = 1.0
        for _ in range(_HALVINGS):
            tried = (weights + step * direction).astype(probabilities.dtype) @ probabilities
            reached = np.log(tried).mean(dtype=np.float64)
            if reached >= likelihood + 1e-4 * step * (gradient @ direction):
                break
            step /= 2
        else:
            break  # rounding hides what is left to gain
        weights, mixture, likelihood = weights + step * direction, tried, reached
    return np.asarray(weights / weights.sum())


def fit_log_pool_weights(logs: Array, truth: Array) -> Array:
    """The weights of the logarithmic pool of greatest likelihood.

    Args:
        logs: What each of m members gives to each of c labels of N observations, as logarithms, (m, N, c); for each
            observation they may be moved by a constant.
        truth: What was annotated, integers from 0, (N,).

    Returns:
        float64, (m,), none negative, sum 1.
    """
    m, n, _ = logs.shape
    right = logs[:, np.arange(n), truth]

    def pooled(weights: Array) -> tuple[Array, float]:
        """Probabilities of the pool, (N, c), and the mean log-likelihood."""
        total = np.tensordot(weights, logs, 1)
        total -= total.max(axis=1, keepdims=True)
        odds = np.exp(total)
        sums = odds.sum(axis=1)
        return odds / sums[:, None], float((total[np.arange(n), truth] - np.log(sums)).mean())

    weights = np.full(m, 1 / m)
    q, likelihood = pooled(weights)
    for _ in range(_STEPS):
        means = (logs * q).sum(axis=2)
        gradient = (right - means).mean(axis=1)
        if gradient.max() - gradient @ weights <= GAP:
            break
        spread = (logs * np.sqrt(q)).reshape(m, -1)
        curvature = (spread @ spread.T - means @ means.T) / n
        direction = minimise_on_simplex(curvature, gradient + curvature @ weights) - weights
        step = 1.0
        for _ in range(_HALVINGS):
            tried, reached = pooled(weights + step * direction)
            if reached >= likelihood + 1e-4 * step * (gradient @ direction):
                break
            step /= 2
        else:
            break  # rounding hides what is left to gain
        weights, q, likelihood = weights + step * direction, tried, reached
    weights = np.clip(weights, 0, None)
    return np.asarray(weights / weights.sum())


def minimise_on_simplex(a: Array, b: Array) -> Array:
    """Minimises w'Aw / 2 - b'w over w >= 0 with sum 1, by a primal active-set method.

    Source: Nocedal and Wright, Numerical Optimization, 2nd edition, algorithm 16.3.

    Args:
        a: Symmetric, positive semidefinite, (m, m).
        b: (m,).

    Returns:
        float64, (m,), none negative, sum 1.
    """
    m = len(b)
    a = a + np.eye(m) * (_RIDGE * max(float(np.trace(a)) / m, _RIDGE))
    weights, free = np.full(m, 1 / m), np.ones(m, dtype=bool)
    for _ in range(20 * m + 20):
        target, multiplier = _minimise_with_equality(a, b, free)
        if (target[free] >= 0).all():
            weights = target
            slack = np.where(free, np.inf, a @ weights - b + multiplier)
            if slack.min() >= -1e-12 * (1 + np.abs(b).max()):
                break
            free[slack.argmin()] = True
        else:
            falling = free & (target < 0)
            shares = np.where(falling, weights / np.where(falling, weights - target, 1), np.inf)
            weights = weights + shares.min() * (target - weights)
            free[shares.argmin()] = False
            weights[~free] = 0
    weights = np.clip(weights, 0, None)
    return np.asarray(weights / weights.sum())


def _minimise_with_equality(a: Array, b: Array, free: Array) -> tuple[Array, float]:
    """The minimum over the free weights with sum 1, the others 0; and the multiplier of that sum."""
    k = int(free.sum())
    system = np.ones((k + 1, k + 1))
    system[:k, :k], system[k, k] = a[np.ix_(free, free)], 0
    solution = np.linalg.solve(system, np.append(b[free], 1.0))
    target = np.zeros(len(b))
    target[free] = solution[:k]
    return target, float(solution[k])


def _least_squares(columns: Array, truth: Array) -> Array:
    columns = columns.astype(np.float64)
    return minimise_on_simplex(columns @ columns.T / len(truth), columns @ truth / len(truth))


def _collect_columns(knowing: Sequence[StoredMember], task: Task, truth: Annotations) -> Array:
    """What the weights are fitted from, (m, n, c): values of valence and arousal, or probabilities of the truth."""
    values = [getattr(member.predictions, task) for member in knowing]
    if task == "expression":
        values = [v[np.arange(len(truth)), truth.expression][:, None] for v in values]
    elif task == "au":
        values = [np.where(truth.au == 1, v, 1 - v) for v in values]
    if task != "va":
        values = [np.maximum(v, np.float32(MIN_PROBABILITY)) for v in values]
    return np.stack(values) if values else np.zeros((0, len(truth), 1), np.float32)
