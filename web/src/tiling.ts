// Large pictures are transformed in overlapping tiles, divided as balle2017's codec does: a tile's context
// is exactly what the receptive fields take, so a tiled picture is the one that a single transform gives.

const TILE_SIDE = 64;
const TILE_AREA = TILE_SIDE ** 2;
const BAND_AREA = 2 ** 15;
const MIN_TILE_SIDE = 16;

// Latents before and after a tile that its own latents, or pixels, depend on.
export const ANALYSIS_CONTEXT: Context = [1, 2];
export const SYNTHESIS_CONTEXT: Context = [2, 1];

export type Context = [number, number];

/** In latents; `outer` includes the context. */
export interface Tile {
  top: number;
  bottom: number;
  left: number;
  right: number;
  outer: { top: number; bottom: number; left: number; right: number };
}

/** The tiles of latents `[height, width]`, from top to bottom. */
export function tiles(height: number, width: number, context: Context): Tile[] {
  const [rows, cols] = tiling(height, width, context[0] + context[1]);
  return rows.flatMap(([top, bottom]) =>
    cols.map(([left, right]) => ({
      top,
      bottom,
      left,
      right,
      outer: {
        top: Math.max(top - context[0], 0),
        bottom: Math.min(bottom + context[1], height),
        left: Math.max(left - context[0], 0),
        right: Math.min(right + context[1], width),
      },
    })),
  );
}

function tiling(height: number, width: number, context: number): [[number, number][], [number, number][]] {
  if (height * width <= TILE_AREA) return [[[0, height]], [[0, width]]];
  const side = Math.min(TILE_SIDE, Math.max(MIN_TILE_SIDE, Math.floor(BAND_AREA / width)));
  const rows = Math.min(height, Math.max(side, Math.floor(TILE_AREA / width)));
  const cols = Math.min(width, Math.floor(TILE_AREA / rows));
  return [divide(height, rows, context), divide(width, cols, context)];
}

/** Divides a side evenly, so that nearly all tiles have the same size. */
function divide(size: number, tile: number, context: number): [number, number][] {
  const count = tile >= size ? 1 : Math.ceil(size / (tile - context));
  const edge = (i: number) => Math.floor((size * i) / count);
  return Array.from({ length: count }, (_, i) => [edge(i), edge(i + 1)]);
}
