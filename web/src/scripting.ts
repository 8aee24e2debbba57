// The codec for scripts in the page, `window.balle2017`: arrays in, arrays out.

import type { PictureTile, Latents } from "./codec";
import { WorkerClient } from "./client";

interface Pixels {
  width: number;
  height: number;
  /** Red, green, blue and an opaque alpha channel. */
  data: Uint8ClampedArray;
}

export function makeScripting() {
  let started: WorkerClient | undefined;
  const worker = () => (started ??= new WorkerClient());

  return {
    /** What is known of the models. */
    models: () => worker().call("models", []),

    /** A .tfci file to `{model, width, height, channels, latents, pixels}`. */
    async decode(file: Uint8Array) {
      const tiles: PictureTile[] = [];
      const result = await worker().call("decode", [file, true], { tile: (tile) => tiles.push(tile) });
      return { ...result, pixels: join(tiles, result) };
    },

    /** A picture file to the bytes of a .tfci file. */
    async encode(picture: Blob, model: string): Promise<Uint8Array> {
      await worker().call("read", [picture]);
      return worker().call("encode", [model]);
    },

    /** Latents of a picture of this size to the bytes of a .tfci file. */
    encodeLatents: (model: string, latents: Latents, width: number, height: number): Promise<Uint8Array> =>
      worker().call("encodeLatents", [model, latents, width, height]),
  };
}

function join(tiles: PictureTile[], { width, height }: { width: number; height: number }): Pixels {
  const data = new Uint8ClampedArray(4 * width * height);
  for (const tile of tiles) {
    for (let y = 0; y < tile.height; y++) {
      const row = tile.data.subarray(4 * y * tile.width, 4 * (y + 1) * tile.width);
      data.set(row, 4 * ((tile.top + y) * width + tile.left));
    }
  }
  return { width, height, data };
}
