// The range coder of docs/format.md. Numbers are doubles: all products stay below 2^49, so they are exact.

const DIGIT = 2 ** 16;
const WHOLE = 2 ** 32;

export class RangeDecoder {
  private position = 0;
  private size = WHOLE;
  /** From the interval's base to the code value; the base itself is never needed. */
  private distance: number;

  constructor(private string: Uint8Array) {
    this.distance = this.digit() * DIGIT + this.digit();
  }

  /** Decodes a bin of `table[begin … end]`, cumulative with `2^16` as its last entry. */
  symbol(table: Int32Array, begin: number, end: number): number {
    // The last entry whose interval begins at or before the code value.
    const bound = (this.distance + 1) * DIGIT;
    let low = begin;
    let high = end;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.size * table[middle] < bound) low = middle;
      else high = middle;
    }
    this.narrow(
      Math.floor((this.size * table[low]) / DIGIT),
      Math.floor((this.size * table[low + 1]) / DIGIT),
    );
    return low - begin;
  }

  bit(): number {
    const half = Math.floor(this.size / 2);
    const bit = this.distance >= half ? 1 : 0;
    this.narrow(bit ? half : 0, bit ? this.size : half);
    return bit;
  }

  private narrow(low: number, high: number) {
    this.distance -= low;
    this.size = high - low;
    if (this.size <= DIGIT) {
      this.size *= DIGIT;
      this.distance = this.distance * DIGIT + this.digit();
    }
  }

  /** The next two bytes; behind its end a string goes on with zeros. */
  private digit(): number {
    const { string, position } = this;
    this.position += 2;
    return ((string[position] ?? 0) << 8) | (string[position + 1] ?? 0);
  }
}

export class RangeEncoder {
  private digits: number[] = [];
  private base = 0;
  private size = WHOLE;

  /** Codes bin `index` of a cumulative table that begins at `begin`. */
  symbol(table: Int32Array, begin: number, index: number) {
    this.narrow(
      Math.floor((this.size * table[begin + index]) / DIGIT),
      Math.floor((this.size * table[begin + index + 1]) / DIGIT),
    );
  }

  bit(bit: number) {
    const half = Math.floor(this.size / 2);
    this.narrow(bit ? half : 0, bit ? this.size : half);
  }

  /** The shortest string in the interval. */
  finish(): Uint8Array {
    const last = this.base + this.size - 1;
    if (this.base !== 0) {
      if (last >= WHOLE) {
        this.carry();
      } else {
        // The roundest number of the interval: of one byte if there is one, else of two.
        const coarse = Math.ceil(this.base / 2 ** 24) * 2 ** 24;
        const number = coarse <= last ? coarse : Math.ceil(this.base / DIGIT) * DIGIT;
        this.digits.push(number / DIGIT);
      }
    }
    const bytes = new Uint8Array(this.digits.flatMap((digit) => [digit >> 8, digit & 255]));
    if (this.base === 0) return bytes;
    let length = bytes.length;
    while (length > 0 && bytes[length - 1] === 0) length--;
    return bytes.slice(0, length);
  }

  private narrow(low: number, high: number) {
    this.base += low;
    if (this.base >= WHOLE) {
      this.base -= WHOLE;
      this.carry();
    }
    this.size = high - low;
    if (this.size <= DIGIT) {
      this.digits.push(Math.floor(this.base / DIGIT));
      this.base = (this.base % DIGIT) * DIGIT;
      this.size *= DIGIT;
    }
  }

  private carry() {
    let index = this.digits.length - 1;
    while (this.digits[index] === DIGIT - 1) this.digits[index--] = 0;
    this.digits[index]++;
  }
}
