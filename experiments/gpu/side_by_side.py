"""Trains several rate points side by side: they are small, and one alone leaves most of a GPU idle.

Each has a stream and a CUDA graph of its step; crops and noise of many steps are made at once. Where there is no GPU,
steps run one after the other.
"""

import contextlib
import time

import torch

from arithmetic import DEVICE
from balle2017.model.network import STRIDE
from soap import WARM_STEPS

CUDA = DEVICE == "cuda"
# Seconds between two reports.
_REPORT = 40


def train(points, source, seconds, settings, report):
    """Trains points for some time, all of them the same number of steps.

    Args:
      points: List of `point.Point`.
      source: `photographs.CropSource`.
      seconds: How long.
      settings: `phases`, list of `[until, side, batch, dtype]`, the first as a part of the time; `learning_rate`, the
        peak; `warmup`, the steps in which it rises; `falls_from`, the part of the time from which it falls to 0, or
        `None`; and `every`, the steps between two turns of SOAP's eigenbases, whose crops and noise are made at once.
      report: Function of the seconds and steps so far and the learning rate, called now and then.

    Returns:
      `(steps, pixels)` of each point.
    """
    lanes = [_Lane(point) for point in points]
    _synchronize()
    begin = last = time.monotonic()
    steps = pixels = 0
    every, falls_from = settings["every"], settings["falls_from"]
    before = None
    while (part := (time.monotonic() - begin) / seconds) < 1:
        _, *shape = next(phase for phase in settings["phases"] if part < phase[0])
        rate = settings["learning_rate"] * min(1.0, (steps + every) / settings["warmup"])
        if falls_from is not None and part > falls_from:
            rate *= 1 - (part - falls_from) / (1 - falls_from)
        if before not in (None, shape):
            _synchronize()
        for lane in lanes:
            lane.prepare(source, *shape, every, rate, turn=before == shape)
        for _ in range(every):
            for lane in lanes:
                lane.step()
        before = shape
        steps += every
        pixels += every * shape[1] * shape[0] ** 2
        if steps % (2 * every) == 0:
            # The queue of steps must not grow without bound.
            _synchronize()
        if time.monotonic() - last > _REPORT:
            _synchronize()
            last = time.monotonic()
            report(last - begin, steps, rate)
    _synchronize()
    return steps, pixels


def _synchronize():
    if CUDA:
        torch.cuda.synchronize()


class _Lane:
    """The steps of one point: what they read, and how they are started."""

    def __init__(self, point):
        self._point = point
        self._stream = torch.cuda.Stream() if CUDA else None
        self._graph = self._shape = None
        self._index = torch.zeros([], dtype=torch.int64, device=DEVICE)
        self._rate = torch.zeros([], device=DEVICE)

    def prepare(self, source, side, batch, dtype, every, rate, turn):
        """Makes crops and noise of the next steps, and sets their rate; the first time, starts the optimizer."""
        fresh = self._shape != (side, batch, dtype)
        with self._queued():
            if turn:
                self._point.optimizer.turn()
            pixels = source.crops(every * batch, side).reshape(every, batch, side, side, 3)
            if fresh:
                grid = [side // STRIDE] * 2
                self._noise = torch.empty(every, batch, *grid, self._point.parameters.num_latents, device=DEVICE)
                self._pixels = pixels
            else:
                # Where the graph reads them.
                self._pixels.copy_(pixels)
            self._noise.uniform_(-0.5, 0.5)
            self._index.zero_()
            self._rate.fill_(rate * self._point.factor)
            first, self._shape, self._dtype = self._shape is None, (side, batch, dtype), getattr(torch, dtype)
            if first:
                for _ in range(WARM_STEPS):
                    self._point.optimizer.watch(self._gradients())
                self._point.optimizer.turn(first=True)
                self._index.zero_()
        if CUDA and fresh:
            self._capture()

    def step(self):
        """One step; on a GPU it is queued."""
        with self._queued():
            if self._graph is None:
                self._step()
            else:
                self._graph.replay()

    def _gradients(self):
        pixels, noise = (of_steps.index_select(0, self._index[None])[0] for of_steps in (self._pixels, self._noise))
        self._index.add_(1)
        return self._point.gradients(pixels, noise, self._dtype)

    def _step(self):
        self._point.optimizer.step(self._gradients(), self._rate)

    def _capture(self):
        """Makes the graph of a step, after three steps outside of it at a learning rate of 0."""
        torch.cuda.synchronize()
        with self._queued():
            rate = self._rate.clone()
            self._rate.zero_()
            moments = [moment for moments in self._point.optimizer.moments for moment in moments]
            kept = [moment.clone() for moment in moments]
            for _ in range(3):
                self._step()
            self._index.zero_()
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._step()
            for moment, value in zip(moments, kept):
                moment.copy_(value)
            self._index.zero_()
            self._rate.copy_(rate)
        torch.cuda.synchronize()

    def _queued(self):
        return torch.cuda.stream(self._stream) if CUDA else contextlib.nullcontext()
