"""A decoder of slices as plain as `docs/format.md`: the reader's way in. It is slow, and nothing else uses it.

Here are two channels, of which the first is coded, with bins for the values −1, 0 and 1 and the escape,
in two classes; the second is always 7. The lookup holds `[-16, cdf...]` of the channel in either class,
then `[16, cdf...]` of the classes themselves, modulo 2¹⁶:

    >>> tables = {
    ...     "coder/active_channels": [0], "coder/offsets": [-1, 0], "coder/constants": [0, 7],
    ...     "coder/lookup": [65520, 0, 4096, 60000, 65000, 0, 65520, 0, 20000, 40000, 60000, 0,
    ...                      16, 0, 32768, 0, 16, 0, 50000, 0, 16, 0, 10000, 0],
    ... }
    >>> decode_slice(bytes.fromhex("df3c"), 4, tables)
    [[0, 7], [1, 7], [-3, 7], [0, 7]]

The tables of a model are its `arrays.json`, read by three lines:

    index = json.load(open("saved_models/bls2017-mse-4/decoder/1/arrays.json"))["arrays"]
    data = open("saved_models/bls2017-mse-4/decoder/1/saved_model.pb", "rb").read()
    tables = {key: np.frombuffer(data, e["dtype"], math.prod(e["shape"]), e["offset"]).tolist()
              for key, e in index.items() if key.startswith("coder/")}
"""

import itertools

# More zeros than any valid escape code begins with.
_MAX_ZEROS = 31


class RangeDecoder:
    """The range coder as the document describes it.

    Args:
      string: The bytes of a slice.
    """

    def __init__(self, string):
        self._string = string
        self._position = 0
        self._base, self._size = 0, 2**32
        self._value = self._two_bytes() << 16 | self._two_bytes()

    def symbol(self, cdf, precision):
        """The next symbol, with a distribution from 0 to 2**precision.

        Raises:
          ValueError: If no encoder wrote this.
        """
        distance = (self._value - self._base) % 2**32
        edges = [(self._size * c) >> precision for c in cdf]
        if distance >= edges[-1]:
            raise ValueError("The slice is damaged.")
        k = max(i for i in range(len(cdf) - 1) if edges[i] <= distance)
        self._base = (self._base + edges[k]) % 2**32
        self._size = edges[k + 1] - edges[k]
        if self._size <= 2**16:
            self._base = (self._base << 16) % 2**32
            self._size <<= 16
            self._value = ((self._value << 16) | self._two_bytes()) % 2**32
        return k

    def latent(self, cdf, offset):
        """The next latent of a channel, whose last bin is the escape."""
        escape = len(cdf) - 2
        v = self.symbol(cdf, 16)
        if v == escape:
            zeros = 0
            while not self._bit():
                zeros += 1
                if zeros > _MAX_ZEROS:
                    raise ValueError("The slice is damaged.")
            g = 1
            for _ in range(zeros):
                g = 2 * g + self._bit()
            v = -g if self._bit() else g + escape - 1
        return offset + v

    def is_at_its_end(self):
        """Whether the string ends here as an encoder ends it."""
        if self._position < len(self._string):
            return False
        if self._base == 0 or self._base + self._size > 2**32:
            return self._value == 0
        for unit in (2**24, 2**16):
            rounded = -(-self._base // unit) * unit
            if rounded < self._base + self._size:
                return self._value == rounded

    def _two_bytes(self):
        pair = self._string[self._position : self._position + 2].ljust(2, b"\0")
        self._position += 2
        return int.from_bytes(pair, "big")

    def _bit(self):
        return self.symbol([0, 1, 2], 1)


def decode_slice(string, length, tables):
    """Decodes one slice.

    Args:
      string: Its bytes.
      length: Its latent positions.
      tables: Lists of integers by name, as `arrays.json` names them: `coder/lookup`,
        `coder/active_channels`, `coder/offsets` and `coder/constants`.

    Returns:
      A list of latents for each position.

    Raises:
      ValueError: If no encoder wrote this.
    """
    active, offsets = tables["coder/active_channels"], tables["coder/offsets"]
    of_channels, of_classes = _rows(list(tables["coder/lookup"]))
    decoder = RangeDecoder(string)
    classes = []
    for _ in range(length):
        row = 1 + classes[-1] if classes else 0
        classes.append(decoder.symbol(of_classes[row], 16) if of_classes else 0)
    positions = []
    for k in classes:
        latents = list(tables["coder/constants"])
        for index, channel in enumerate(active):
            latents[channel] = decoder.latent(of_channels[k * len(active) + index], offsets[channel])
        positions.append(latents)
    if not decoder.is_at_its_end():
        raise ValueError("The slice is damaged.")
    return positions


def _rows(lookup):
    """The distributions of the channels, class by class, and those of the classes."""
    of_channels, of_classes = [], []
    while lookup:
        sign, _, *rest = lookup
        # Models of before store numbers that are not modulo 2¹⁶.
        inner = [*itertools.takewhile(lambda number: number % 2**16, rest)]
        (of_classes if sign == 16 else of_channels).append([0, *inner, 2**16])
        lookup = rest[len(inner) + 1 :]
    return of_channels, of_classes
