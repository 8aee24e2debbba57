"""Which single bit of a message was flipped, by its CRC-32."""

# Of the polynomial, the lowest coefficient in the highest bit.
_POLYNOMIAL = 0xEDB88320
# What is stepped through bit by bit, and jumped over.
_LOG_STRIDE = 12
_STRIDE = 1 << _LOG_STRIDE


def find(syndrome, num_bits):
    """Finds the flipped bit among those of a message.

    A bit contributes to the checksum what the one behind it does, stepped on once. So this is a discrete logarithm,
    found by small steps from the message's end and large ones from the syndrome backwards (Shanks): it takes the
    square root of the time of going through all bits.

    Args:
      syndrome: Exclusive or of the checksum that the message has and the one that it should have.
      num_bits: Of the message.

    Returns:
      How many bits of the message come behind the flipped one, in the order in which the checksum takes them: bytes
      from first to last, and in each the lowest bit first. `None`: no single bit makes this difference.
    """
    near, contribution = {}, _POLYNOMIAL
    for behind in range(min(_STRIDE, num_bits)):
        near[contribution] = behind
        contribution = (contribution >> 1) ^ (_POLYNOMIAL if contribution & 1 else 0)
    # A step back by one bit, as a linear map: what becomes of each of 32 bits; then by two, by four and so on.
    back = [1 << (bit + 1) for bit in range(31)] + [((1 << 31 ^ _POLYNOMIAL) << 1 | 1) & 0xFFFFFFFF]
    for _ in range(_LOG_STRIDE):
        back = [_apply(back, column) for column in back]
    for jumped in range(0, num_bits, _STRIDE):
        if syndrome in near:
            behind = jumped + near[syndrome]
            return behind if behind < num_bits else None
        syndrome = _apply(back, syndrome)
    return None


def _apply(columns, vector):
    result = 0
    while vector:
        lowest = vector & -vector
        result ^= columns[lowest.bit_length() - 1]
        vector ^= lowest
    return result
