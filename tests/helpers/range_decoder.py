"""The range decoder as docs/format.md describes it."""


class RangeDecoder:
    """The range coder as the document describes it."""

    def __init__(self, string):
        self.string = string
        self.position = 0
        self.base, self.size = 0, 2**32
        self.value = self.two_bytes() << 16 | self.two_bytes()

    def two_bytes(self):
        pair = self.string[self.position : self.position + 2].ljust(2, b"\0")
        self.position += 2
        return int.from_bytes(pair, "big")

    def symbol(self, table, precision):
        distance = (self.value - self.base) % 2**32
        edges = [(self.size * c) >> precision for c in table]
        k = next(i for i in range(len(table) - 1) if edges[i] <= distance < edges[i + 1])
        self.base = (self.base + edges[k]) % 2**32
        self.size = edges[k + 1] - edges[k]
        if self.size <= 2**16:
            self.base = (self.base << 16) % 2**32
            self.size <<= 16
            self.value = ((self.value << 16) | self.two_bytes()) % 2**32
        return k

    def bit(self):
        return self.symbol([0, 1, 2], 1)

    def latent(self, table, offset):
        m = len(table) - 2
        v = self.symbol(table, 16)
        if v == m:
            zeros = 0
            while not self.bit():
                zeros += 1
                assert zeros < 32
            g = 1
            for _ in range(zeros):
                g = 2 * g + self.bit()
            v = -g if self.bit() else g + m - 1
        return offset + v

    def is_at_its_end(self):
        assert self.position >= len(self.string)
        if self.base == 0 or self.base + self.size > 2**32:
            return self.value == 0
        for unit in (2**24, 2**16):
            rounded = -(-self.base // unit) * unit
            if rounded < self.base + self.size:
                return self.value == rounded
