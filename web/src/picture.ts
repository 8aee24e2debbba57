// Photographs as the browser reads and writes them.

import { Sentence } from "./bitstream";
import { checkSize, type Picture, type PictureTile } from "./codec";
import { type Fidelity, fidelityOf, type Measure } from "./fidelity";

// What few browsers read: name, first bytes, and what the command takes.
const FOR_THE_COMMAND: [string, RegExp, string][] = [
  ["TIFF", /^(II[*+]\0|MM\0[*+])/, "them"],
  ["JPEG 2000", /^(\0\0\0\x0cjP {2}|\xff\x4f\xff\x51)/, "them"],
  ["HEIC", /^.{4}ftyp(hei|hev|mif1|msf1)/s, "them where the Python package pillow-heif is installed"],
  ["JPEG XL", /^(\0\0\0\x0cJXL |\xff\x0a)/, "them where the Python package pillow-jxl-plugin is installed"],
];

/** Reads a picture: EXIF's orientation is applied, colours become sRGB, what is transparent becomes white. */
export async function readPicture(file: Blob): Promise<Picture> {
  let bitmap: ImageBitmap;
  // As text: a code point for each byte.
  const start = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    const known = FOR_THE_COMMAND.find(([, begins]) => begins.test(start));
    throw new Sentence(
      known
        ? `This browser cannot read a ${known[0]} picture like this; the command balle2017 compress reads ${known[2]}.`
        : "This is neither a .tfci file nor a picture that this browser can read.",
    );
  }
  const { width, height } = bitmap;
  try {
    checkSize(width, height);
    return { width, height, data: toContext(bitmap).getImageData(0, 0, width, height).data };
  } finally {
    bitmap.close();
  }
}

export interface Match {
  file: Blob;
  fidelity: Fidelity;
  bitmap: ImageBitmap;
}

/**
 * The smallest file of another codec that is not smaller than `bytes`, or else its largest.
 *
 * @returns Nothing if the browser does not write the format.
 */
export async function matchSize(
  picture: Picture, type: string, bytes: number, measure: Measure, breathe: () => Promise<void>,
): Promise<Match | null> {
  const canvas = toContext(new ImageData(picture.data, picture.width, picture.height)).canvas;
  const write = async (quality: number) => {
    await breathe();
    // A WebP has at most 16383 pixels a side.
    return canvas.convertToBlob({ type, quality: quality / 100 }).catch(() => null);
  };
  // A WebP of quality 100 is another format, without loss.
  let high = 99;
  let best = await write(high);
  if (best?.type !== type) return null;
  for (let low = 0; low < high; ) {
    const middle = (low + high) >> 1;
    const file = await write(middle);
    if (!file) return null;
    if (file.size >= bytes) {
      high = middle;
      best = file;
    } else {
      low = middle + 1;
    }
  }
  const decoded = await readPicture(best);
  const fidelity = await fidelityOf(picture, decoded, measure, breathe);
  return { file: best, fidelity, bitmap: await toBitmap(decoded) };
}

export function toBitmap(picture: Picture): Promise<ImageBitmap> {
  return createImageBitmap(new ImageData(picture.data, picture.width, picture.height));
}

/** A picture of which tiles are still to come. */
export function emptyPicture({ width, height }: { width: number; height: number }): Picture {
  return { width, height, data: new Uint8ClampedArray(4 * width * height) };
}

/** Copies a tile into its picture. */
export function copyTile(tile: PictureTile, into: Picture) {
  for (let y = 0; y < tile.height; y++) {
    const row = tile.data.subarray(4 * y * tile.width, 4 * (y + 1) * tile.width);
    into.data.set(row, 4 * ((tile.top + y) * into.width + tile.left));
  }
}

function toContext(source: ImageBitmap | ImageData): OffscreenCanvasRenderingContext2D {
  const canvas = new OffscreenCanvas(source.width, source.height);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true })!;
  if (source instanceof ImageData) {
    context.putImageData(source, 0, 0);
  } else {
    context.fillStyle = "white";
    context.fillRect(0, 0, source.width, source.height);
    context.drawImage(source, 0, 0);
  }
  return context;
}
