// Between latents and slices: docs/format.md, "Inside a slice".

import { Sentence } from "./bitstream";
import { ClassChooser } from "./classes";
import { RangeDecoder, RangeEncoder } from "./range_coder";
import type { Tables } from "./tables";

const MAX_MAGNITUDE = 2 ** 24;
// More zeros than this begin no escape code of a valid file.
const MAX_ZEROS = 31;
// Positions whose classes are chosen together, as in balle2017's encoder.
const CHOSEN_TOGETHER = 2 ** 14;

class NotValid extends Error {}

export class SliceCoder {
  private chooser: ClassChooser;

  readonly numLatents: number;

  constructor(private tables: Tables) {
    this.numLatents = tables.numLatents;
    this.chooser = new ClassChooser(tables);
  }

  /**
   * Latents `[positions, N]` to slices; the generator yields after each run of them, so that its caller can
   * breathe.
   */
  *encode(latents: Int32Array, sliceLength: number): Generator<number, Uint8Array[]> {
    const { active, offsets, numLatents } = this.tables;
    const positions = latents.length / numLatents;
    const run = Math.max(1, Math.floor(CHOSEN_TOGETHER / sliceLength)) * sliceLength;
    const slices: Uint8Array[] = [];
    for (let first = 0; first < positions; first += run) {
      const count = Math.min(run, positions - first);
      const symbols = new Int32Array(count * active.length);
      for (let p = 0, to = 0; p < count; p++) {
        const from = (first + p) * numLatents;
        for (const channel of active) symbols[to++] = latents[from + channel] - offsets[channel];
      }
      const classes = this.chooser.choose(symbols, count, sliceLength);
      for (let begin = 0; begin < count; begin += sliceLength) {
        slices.push(this.encodeSlice(symbols, classes, begin, Math.min(begin + sliceLength, count)));
      }
      yield (first + count) / positions;
    }
    return slices;
  }

  /** Slices to latents `[positions, N]`. */
  *decode(slices: Uint8Array[], positions: number, sliceLength: number): Generator<number, Int32Array> {
    const { active, offsets, constants, numLatents } = this.tables;
    const latents = new Int32Array(positions * numLatents);
    for (let index = 0; index < slices.length; index++) {
      const first = index * sliceLength;
      const count = Math.min(sliceLength, positions - first);
      const symbols = this.decodeSlice(slices[index], count);
      if (!symbols) throw new Sentence(`Slice ${index + 1} of ${slices.length} holds no valid data.`);
      for (let p = 0, from = 0; p < count; p++) {
        const to = (first + p) * numLatents;
        latents.set(constants, to);
        for (const channel of active) latents[to + channel] = symbols[from++] + offsets[channel];
      }
      if (index % 256 === 255) yield index / slices.length;
    }
    return latents;
  }

  private encodeSlice(symbols: Int32Array, classes: Uint8Array, begin: number, end: number): Uint8Array {
    const { cdfs, begins, classBegins, escapes, numClasses } = this.tables;
    const count = escapes.length;
    if (count === 0) return new Uint8Array(0);
    const coder = new RangeEncoder();
    if (numClasses > 1) {
      for (let p = begin; p < end; p++) {
        coder.symbol(cdfs, classBegins[p === begin ? 0 : 1 + classes[p - 1]], classes[p]);
      }
    }
    for (let p = begin; p < end; p++) {
      for (let a = 0; a < count; a++) {
        const value = symbols[p * count + a];
        const table = begins[classes[p] * count + a];
        const escape = escapes[a];
        if (value >= 0 && value < escape) {
          coder.symbol(cdfs, table, value);
        } else {
          coder.symbol(cdfs, table, escape);
          encodeGamma(coder, value < 0 ? -value : value - escape + 1);
          coder.bit(value < 0 ? 1 : 0);
        }
      }
    }
    return coder.finish();
  }

  /** Symbols `[positions, active channels]`, or nothing if no encoder writes such a slice. */
  private decodeSlice(string: Uint8Array, positions: number): Int32Array | null {
    const { cdfs, begins, classBegins, escapes, numClasses } = this.tables;
    const count = escapes.length;
    const symbols = new Int32Array(positions * count);
    if (count === 0) return string.length ? null : symbols;
    const coder = new RangeDecoder(string);
    const classes = new Uint8Array(positions);
    if (numClasses > 1) {
      for (let p = 0; p < positions; p++) {
        const begin = classBegins[p === 0 ? 0 : 1 + classes[p - 1]];
        classes[p] = coder.symbol(cdfs, begin, begin + numClasses);
      }
    }
    try {
      for (let p = 0, to = 0; p < positions; p++) {
        for (let a = 0; a < count; a++) {
          const begin = begins[classes[p] * count + a];
          const escape = escapes[a];
          let value = coder.symbol(cdfs, begin, begin + escape + 1);
          if (value === escape) {
            const gamma = decodeGamma(coder);
            value = coder.bit() ? -gamma : gamma + escape - 1;
          }
          symbols[to++] = value;
        }
      }
    } catch (error) {
      if (error instanceof NotValid) return null;
      throw error;
    }
    // There is one string for each slice.
    const again = this.encodeSlice(symbols, classes, 0, positions);
    return again.length === string.length && again.every((byte, i) => byte === string[i]) ? symbols : null;
  }
}

function encodeGamma(coder: RangeEncoder, value: number) {
  const length = 32 - Math.clz32(value);
  for (let i = 1; i < length; i++) coder.bit(0);
  for (let i = length - 1; i >= 0; i--) coder.bit((value >>> i) & 1);
}

function decodeGamma(coder: RangeDecoder): number {
  let zeros = 0;
  while (!coder.bit()) if (++zeros > MAX_ZEROS) throw new NotValid();
  let value = 1;
  for (let i = 0; i < zeros; i++) value = 2 * value + coder.bit();
  if (value >= MAX_MAGNITUDE) throw new NotValid();
  return value;
}
