// The codec for scripts in the page, `window.balle2017`: arrays in, arrays out.

import { WorkerClient } from "./client";
import type { Latents, Picture, PictureTile } from "./codec";
import { copyTile, emptyPicture } from "./picture";

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

function join(tiles: PictureTile[], size: { width: number; height: number }): Picture {
  const picture = emptyPicture(size);
  for (const tile of tiles) copyTile(tile, picture);
  return picture;
}
