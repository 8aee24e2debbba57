"""The densities that compete of `balle2017/model/competing_prior.py` in PyTorch: K logistic ones a channel.

Parameters are `loc` and `log_scale`, float32 `[K, M]`; counts are `share` `[K]`, how often each class is taken, and
`pairs` `[K, K]`, how often one is taken to the right of another. Latents are float32 `[batch, h, w, M]`, classes int64
`[batch, h, w]`.
"""

import math

import torch
import torch.nn.functional as F

# As in the package: a value beyond costs, for the choice of a class, as much as this one; narrower densities all say
# the same; the weight of a batch in the counts; and the part of the probability of classes that is equal for all.
BOUND, MIN_LOG_SCALE, MOMENTUM, LEAST, UNKNOWN = 96, -5.0, 0.01, 1e-6, 0.05
LIKELIHOOD_BOUND = 1e-9
# A class that is taken less often than this part of its equal share is dead.
ALIVE = 0.05


def log_likelihood(y, loc, log_scale):
    """Natural logarithm of the noisy logistic density of location μ and scale s, by broadcasting."""
    inverse = torch.exp(-torch.clamp(log_scale, min=MIN_LOG_SCALE))
    lower, upper = (y - 0.5 - loc) * inverse, (y + 0.5 - loc) * inverse
    # On the side where the logistic function is small the difference is exact.
    sign = torch.where(lower + upper > 0, -1.0, 1.0).detach()
    likelihood = (torch.sigmoid(sign * upper) - torch.sigmoid(sign * lower)).abs()
    return torch.log(torch.clamp(likelihood, min=LIKELIHOOD_BOUND))


def bits_of(y, classes, loc, log_scale):
    """Bits of all latents, noisy or rounded, of which the classes are known: a scalar."""
    chosen = F.one_hot(classes.reshape(-1), len(loc)).float()
    y = y.reshape(-1, y.shape[-1])
    return log_likelihood(y, chosen @ loc, chosen @ log_scale).sum() / -math.log(2)


@torch.no_grad()
def choose(rounded, loc, log_scale, share, pairs):
    """The class of each position that takes the fewest bits, those of saying the classes included.

    Returns:
      The classes, and the bits of saying each, float32 `[batch, h, w]`.
    """
    b, h, w, m = rounded.shape
    values = torch.arange(-BOUND, BOUND + 1, device=rounded.device, dtype=torch.float32)[None, :, None]
    cost = log_likelihood(values, loc.t()[:, None], log_scale.t()[:, None]) / -math.log(2)
    cells = rounded.clamp(-BOUND, BOUND).to(torch.int64) + BOUND
    cells = cells + (2 * BOUND + 1) * torch.arange(m, device=rounded.device)
    bits = F.embedding_bag(cells.reshape(-1, m), cost.reshape(-1, len(loc)), mode="sum").reshape(b, h, w, -1)
    first, follows = _costs(share, pairs)
    classes = (bits + first).argmin(3)
    before, after = torch.cat([first[None], follows]), F.pad(follows.t(), (0, 0, 1, 0))
    # A class has a say in what the next one costs: each is chosen again between its neighbours.
    odd = torch.arange(w, device=rounded.device) % 2 == 1
    for again in (odd, ~odd):
        left, right = F.pad(classes[:, :, :-1] + 1, (1, 0)), F.pad(classes[:, :, 1:] + 1, (0, 1))
        classes = torch.where(again, (bits + before[left] + after[right]).argmin(3), classes)
    return classes, before[F.pad(classes[:, :, :-1] + 1, (1, 0)), classes]


def _costs(share, pairs):
    """Bits of each class at the left border `[K]`, and to the right of each class `[K, K]`."""
    share = share / share.sum()
    pairs = pairs + LEAST * share
    follows = pairs / pairs.sum(1, keepdim=True)
    return tuple(-torch.log2((1 - UNKNOWN) * counted + UNKNOWN / len(share)) for counted in (share, follows))


@torch.no_grad()
def counts_of(classes, num_classes):
    """How often each class is taken, float32 `[K]`, and each pair of neighbours, `[K, K]`: parts of 1."""
    chosen = F.one_hot(classes, num_classes).float()
    left, right = (part.reshape(-1, num_classes) for part in (chosen[:, :, :-1], chosen[:, :, 1:]))
    return chosen.reshape(-1, num_classes).mean(0), left.t() @ right / max(len(left), 1)


@torch.no_grad()
def fitted(rounded, num_classes, rounds=12):
    """Densities that compete for given latents, by Lloyd's algorithm with code lengths for distances.

    For a start whose prior has classes that nothing takes any more. (The package makes coding tables of whole
    photographs, takes their moments and fits the densities to noisy latents for 400 steps of Adam; what is left to do,
    the training does.)

    Args:
      rounded: float32 `[batch, h, w, M]`.
      num_classes: K.
      rounds: Of the algorithm.

    Returns:
      `(loc, log_scale, share, pairs)`.
    """
    b, h, w, m = rounded.shape
    flat = rounded.reshape(-1, m)
    loc, log_scale = _moments(flat, torch.ones(len(flat), 1, device=flat.device))
    bits = -log_likelihood(flat, loc, log_scale).sum(1)
    # Positions are told apart by what they cost, first.
    edges = bits.sort()[0][torch.arange(1, num_classes, device=flat.device) * len(flat) // num_classes]
    classes, bits = torch.searchsorted(edges, bits).reshape(b, h, w), bits.reshape(b, h, w)
    for _ in range(rounds):
        for dead in torch.nonzero(counts_of(classes, num_classes)[0] < ALIVE / num_classes).flatten():
            # It gets the costlier half of the class that is taken most often.
            most = classes == classes.flatten().mode()[0]
            classes[most & (bits > bits[most].median())] = dead
        loc, log_scale = _moments(flat, F.one_hot(classes.reshape(-1), num_classes).float())
        share, pairs = counts_of(classes, num_classes)
        classes, _ = choose(rounded, loc, log_scale, share, pairs)
    return loc, log_scale, *counts_of(classes, num_classes)


def _moments(flat, members):
    """`loc` and `log_scale` of latents `[positions, M]` that belong to classes, `[positions, K]` of 0 and 1."""
    # As if each class had seen ten positions of all, too.
    everything, prior_count = flat.mean(0), 10.0
    count = members.sum(0)[:, None] + prior_count
    mean = (members.t() @ flat + prior_count * everything) / count
    square = (members.t() @ flat.square() + prior_count * flat.square().mean(0)) / count
    # A rounded logistic variable has about the variance s² π² / 3 + 1/12.
    variance = torch.clamp(square - mean.square() - 1 / 12, min=0.01)
    return mean, torch.log(torch.sqrt(variance * 3) / math.pi)
