// A model's coding tables, as `CodingTables.stored_lookup` lays them out.

const PRECISION = 16;

export interface Tables {
  numLatents: number;
  numClasses: number;
  /** Channels that are coded, ascending. */
  active: Int32Array;
  offsets: Int32Array;
  /** What inactive channels always are. */
  constants: Int32Array;
  /** All distributions, one after the other, each from 0 to 2¹⁶. */
  cdfs: Int32Array;
  /** Where in `cdfs` that of class k and the a-th active channel begins: `[k * active.length + a]`. */
  begins: Int32Array;
  /** Where in `cdfs` those of the classes begin: at a slice's start, and after each class. */
  classBegins: Int32Array;
  /** The last bin of each active channel, which stands for all values that have none. */
  escapes: Int32Array;
}

/** Reads tables; the lookup becomes `cdfs`. */
export function readTables(arrays: {
  lookup: Int32Array;
  active: Int32Array;
  offsets: Int32Array;
  constants: Int32Array;
}): Tables {
  const { lookup, active, offsets, constants } = arrays;
  const total = 2 ** PRECISION;
  const begins: number[] = [];
  const classBegins: number[] = [];
  const bins: number[] = [];
  for (let position = 0; position < lookup.length; ) {
    // Rows with a negative precision are those of channels.
    const isChannel = lookup[position] !== PRECISION;
    const begin = position + 1;
    // Numbers are stored modulo 2¹⁶, so the end of a row, too, is zero; in models of before it is not.
    let end = begin + 1;
    while (lookup[end] % total) end++;
    lookup[end] = total;
    position = end + 1;
    (isChannel ? begins : classBegins).push(begin);
    if (isChannel) bins.push(position - begin - 1);
  }
  return {
    numLatents: offsets.length,
    numClasses: Math.max(1, classBegins.length - 1),
    active,
    offsets,
    constants,
    cdfs: lookup,
    begins: Int32Array.from(begins),
    classBegins: Int32Array.from(classBegins),
    escapes: Int32Array.from({ length: active.length }, (_, a) => bins[a] - 1),
  };
}
