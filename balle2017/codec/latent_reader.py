"""The latents of a file, decoded from top to bottom; lost ones are concealed."""

import numpy as np

from balle2017.codec import tiling


class LatentReader:
    """Decodes a file's latents from top to bottom, and forgets what is no longer needed."""

    def __init__(self, model, contents, lost):
        self.model = model
        self.contents = contents
        self.lost = lost
        self._width = contents.latent_size[1]
        self._known = np.empty([0, model.num_latents], np.int32)
        self._start = 0
        self._next_slice = 0

    def read(self, top, bottom):
        """Latents of rows `top` to `bottom`, int32; neither may decrease from call to call."""
        width, length = self._width, self.contents.slice_length
        kept = self._known[top * width - self._start :].copy()
        # Freed before the next are made: those of a large picture's band take tens of megabytes.
        self._known = None
        self._start = top * width
        first = self._next_slice
        stop = -(-bottom * width // length)
        step = max(1, tiling.CODER_POSITIONS // length)
        end = len(kept)
        count = max(min(stop * length, self.contents.num_positions) - self._start, end)
        self._known = np.empty([count, kept.shape[1]], np.int32)
        self._known[:end] = kept
        while self._next_slice < stop:
            latents = self._decode(self._next_slice, min(self._next_slice + step, stop))
            self._known[end : end + len(latents)] = latents
            end += len(latents)
            self._next_slice = min(self._next_slice + step, stop)
        for index in self.lost:
            if index >= first:
                self._conceal(index)
        rows = self._known[: (bottom - top) * width]
        return rows.reshape(bottom - top, width, -1)

    def _decode(self, first, stop):
        length = self.contents.slice_length
        slices = self.contents.slices[first:stop]
        count = min(stop * length, self.contents.num_positions) - first * length
        latents, valid = self.model.decode_slices([s or b"" for s in slices], length, count)
        for index, content in enumerate(slices):
            if content is None or not valid[index]:
                self.lost.append(first + index)
        return latents

    def _conceal(self, index):
        """Repeats the latents above a lost slice; nothing is above the first row but zeros."""
        begin = index * self.contents.slice_length - self._start
        end = min(begin + self.contents.slice_length, len(self._known))
        for here in range(begin, end):
            above = here - self._width
            self._known[here] = self._known[above] if above >= 0 else 0
