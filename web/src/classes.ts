// Which class codes each latent position: the choice of balle2017's encoder, in the same integer
// arithmetic, so that equal latents become equal bytes.

import type { Tables } from "./tables";

const BIT = 2 ** 10;

export class ClassChooser {
  /** Costs of the classes, `[K + 1, K]`: at a slice's start, and after each class. */
  private classBits: Int32Array;
  private costs: Int32Array;

  constructor(private tables: Tables) {
    const { cdfs, classBegins, numClasses } = tables;
    this.costs = Int32Array.from(cdfs, (value, i) => bits(cdfs[i + 1] - value));
    this.classBits = new Int32Array(classBegins.length * numClasses);
    classBegins.forEach((begin, row) => {
      for (let k = 0; k < numClasses; k++) this.classBits[row * numClasses + k] = this.costs[begin + k];
    });
  }

  /**
   * Classes of successive slices, all but the last of them of full length.
   *
   * @param symbols Latents less their offsets, `[positions, active channels]`.
   */
  choose(symbols: Int32Array, positions: number, sliceLength: number): Uint8Array {
    const { numClasses } = this.tables;
    const classes = new Uint8Array(positions);
    if (numClasses === 1 || this.tables.active.length === 0) return classes;
    const own = this.symbolBits(symbols, positions);
    for (let p = 0; p < positions; p++) classes[p] = this.cheapest(own, p, 0, numClasses);
    // A class has a say in what the next one costs: each is chosen again between its neighbours.
    for (const parity of [1, 0, 1, 0]) {
      for (let p = parity; p < positions; p += 2) {
        const row = p % sliceLength === 0 ? 0 : 1 + classes[p - 1];
        const isLast = p === positions - 1 || (p + 1) % sliceLength === 0;
        classes[p] = this.cheapest(own, p, row, isLast ? numClasses : classes[p + 1]);
      }
    }
    return classes;
  }

  private cheapest(own: Int32Array, position: number, row: number, following: number): number {
    const { numClasses } = this.tables;
    let best = 0;
    let least = Infinity;
    for (let k = 0; k < numClasses; k++) {
      let cost = own[position * numClasses + k] + this.classBits[row * numClasses + k];
      if (following < numClasses) cost += this.classBits[(1 + k) * numClasses + following];
      if (cost < least) {
        least = cost;
        best = k;
      }
    }
    return best;
  }

  /** What each position costs in each class, `[positions, K]`, but for escape codes. */
  private symbolBits(symbols: Int32Array, positions: number): Int32Array {
    const { numClasses, begins, escapes } = this.tables;
    const count = escapes.length;
    const own = new Int32Array(positions * numClasses);
    for (let p = 0; p < positions; p++) {
      for (let a = 0; a < count; a++) {
        const value = symbols[p * count + a];
        const bin = value >= 0 && value < escapes[a] ? value : escapes[a];
        for (let k = 0; k < numClasses; k++) {
          own[p * numClasses + k] += this.costs[begins[k * count + a] + bin];
        }
      }
    }
    return own;
  }
}

/** What a bin of this integer size costs, in units of `1 / BIT`. */
function bits(frequency: number): number {
  return Math.round(-Math.log2(Math.max(frequency, 1) / 2 ** 16) * BIT);
}
