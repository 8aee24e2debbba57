"""SOAP of `balle2017/training/soap.py` in PyTorch: Adam in the eigenbases of Shampoo's statistics, for kernels alone.

What is different there: moments start at 0 and are not divided by 1 − βᵗ, which the learning rate's rise hides; the
first eigenbases are those of `WARM_STEPS` batches and not of one; and they are turned when the caller says so, every 40
steps in place of every 10.
"""

import torch

from arithmetic import tf32

# Of both moments and of the statistics.
BETA, EPSILON = 0.95, 1e-8
# Fewer channels than this (the colours') have no eigenbasis worth turning to.
MIN_FACTOR = 8
# A step of a kernel is relative to its root mean square; one of everything else to this.
SCALE = 0.3
# Batches that the caller shows before the first step.
WARM_STEPS = 3


class SOAP:
    """The optimizer, and the averages of the weights over its steps.

    Args:
      kernels: List of tensors `[taps, rows, columns]`.
      others: One tensor of everything else, which gets plain Adam.
      lower: What `others` are kept above after each step, of the same shape.
      ema: Momentum of the averages.

    Attributes:
      averages: Tensors like `[*kernels, others]`.
      moments: First and second moments, two lists of the same.
    """

    def __init__(self, kernels, others, lower, ema=0.998):
        self._variables, self._kernels, self._lower, self._ema = [*kernels, others], len(kernels), lower, ema
        self.averages = [v.detach().clone() for v in self._variables]
        self.moments = [[torch.zeros_like(v) for v in self._variables] for _ in range(2)]
        self._turned = [j for j, kernel in enumerate(kernels) if min(kernel.shape[1:]) >= MIN_FACTOR]
        self._statistics, self._bases = {}, {}
        for j in self._turned:
            for axis in (1, 2):
                identity = torch.eye(kernels[j].shape[axis], device=others.device)
                self._statistics[j, axis], self._bases[j, axis] = torch.zeros_like(identity), identity

    @torch.no_grad()
    def watch(self, gradients):
        """Counts gradients, a list like `averages`, in the statistics."""
        with tf32():
            for j in self._turned:
                rows, columns = gradients[j].shape[1:]
                of_rows = gradients[j].permute(1, 0, 2).reshape(rows, -1)
                of_columns = gradients[j].reshape(-1, columns)
                self._statistics[j, 1].lerp_(of_rows @ of_rows.t(), 1 - BETA)
                self._statistics[j, 2].lerp_(of_columns.t() @ of_columns, 1 - BETA)

    @torch.no_grad()
    def step(self, gradients, learning_rate):
        """Counts gradients, and changes the variables; the learning rate is a scalar tensor."""
        self.watch(gradients)
        with tf32():
            for j, (variable, gradient, first, second) in enumerate(zip(self._variables, gradients, *self.moments)):
                gradient = self._rotate(j, gradient)
                first.lerp_(gradient, 1 - BETA)
                second.lerp_(gradient * gradient, 1 - BETA)
                direction = self._rotate(j, first / (second.sqrt() + EPSILON), back=True)
                scale = variable.square().mean().sqrt() if j < self._kernels else SCALE
                variable.sub_(direction * (learning_rate * scale))
                if j == self._kernels:
                    torch.maximum(variable, self._lower, out=variable)
                self.averages[j].lerp_(variable, 1 - self._ema)

    @torch.no_grad()
    def turn(self, first=False):
        """Turns the eigenbases by one step of orthogonal iteration, the first time by a full eigendecomposition."""
        before = {j: self._rotate(j, self.moments[0][j], back=True) for j in self._turned}
        same_size = {}
        for key, statistics in self._statistics.items():
            same_size.setdefault(len(statistics), []).append(key)
        # All of a size at once.
        for keys in same_size.values():
            statistics = torch.stack([self._statistics[key] for key in keys])
            if first:
                fresh = torch.linalg.eigh(statistics)[1].flip(-1)
            else:
                fresh = torch.linalg.qr(statistics @ torch.stack([self._bases[key] for key in keys]))[0]
            for key, basis in zip(keys, fresh):
                self._bases[key].copy_(basis)
        for j, moment in before.items():
            self.moments[0][j].copy_(self._rotate(j, moment))

    def _rotate(self, j, value, back=False):
        """Rotates `[taps, rows, columns]` into the eigenbases of variable j, or out of them."""
        if (j, 1) not in self._bases:
            return value
        left, right = self._bases[j, 1], self._bases[j, 2]
        if back:
            return torch.matmul(torch.matmul(left, value), right.t())
        return torch.matmul(torch.matmul(left.t(), value), right)
