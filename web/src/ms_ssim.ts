// MS-SSIM (Wang, Simoncelli & Bovik 2003), as balle2017.evaluation.metrics computes it: row by row, so that large
// pictures take little memory beside their own.

import type { Picture } from "./codec";

// The exponents of the scales, from the finest.
const WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
// Pixels a side of the Gaussian window, of standard deviation 1.5.
const SIZE = 11;
const WINDOW = gaussian(1.5);
// What keeps quotients of dark or flat windows stable.
const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;
const COLOURS = 3;

/** Pixels a side that all scales take at least. */
export const MIN_SIDE = (SIZE - 1) * 2 ** (WEIGHTS.length - 1) + 1;

/** One colour of a picture. */
interface Plane {
  width: number;
  height: number;
  /** Copies a row. */
  read: (y: number, row: Float32Array) => void;
}

/** MS-SSIM of two pictures of one size, no side of which is under `MIN_SIDE`: the mean over the colours. */
export async function msSsim(first: Picture, second: Picture, breathe: () => Promise<void>): Promise<number> {
  let sum = 0;
  for (let colour = 0; colour < COLOURS; colour++) {
    let planes = [first, second].map((picture) => planeOf(picture, colour));
    let product = 1;
    for (const [scale, weight] of WEIGHTS.entries()) {
      if (scale) planes = planes.map(halved);
      const mean = await similarity(planes[0], planes[1], scale === WEIGHTS.length - 1, breathe);
      // A negative correlation has no power.
      product *= Math.max(mean, 0) ** weight;
    }
    sum += product;
  }
  return sum / COLOURS;
}

/** Mean SSIM of all windows at the coarsest scale, at others of its factor of contrast and structure alone. */
async function similarity(
  first: Plane, second: Plane, isCoarsest: boolean, breathe: () => Promise<void>,
): Promise<number> {
  const { width, height } = first;
  const across = width - SIZE + 1;
  // Of both planes, their product and the sum of their squares: a row, and the last ones blurred along the row.
  const rows = Array.from({ length: 4 }, () => new Float32Array(width));
  const shifted = rows.map((row) => WINDOW.map((_, k) => row.subarray(k, k + across)));
  const blurred = rows.map(() => Array.from({ length: SIZE }, () => new Float32Array(across)));
  const means = rows.map(() => new Float32Array(across));
  let sum = 0;
  for (let y = 0; y < height; y++) {
    await breathe();
    const [a, b, product, squares] = rows;
    first.read(y, a);
    second.read(y, b);
    for (let x = 0; x < width; x++) {
      product[x] = a[x] * b[x];
      squares[x] = a[x] * a[x] + b[x] * b[x];
    }
    blurred.forEach((last, i) => {
      // The oldest goes.
      last.push(last.shift()!);
      blur(shifted[i], last[SIZE - 1]);
      if (y >= SIZE - 1) blur(last, means[i]);
    });
    if (y >= SIZE - 1) sum += compared(means, isCoarsest);
  }
  return sum / (across * (height - SIZE + 1));
}

/** Weighted sums of `SIZE` vectors under the window. */
function blur(parts: Float32Array[], into: Float32Array) {
  // Spelled out, as a loop over the parts takes several times as long.
  const [p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10] = parts;
  const [w0, w1, w2, w3, w4, w5] = WINDOW;
  for (let x = 0; x < into.length; x++) {
    into[x] =
      w0 * (p0[x] + p10[x]) + w1 * (p1[x] + p9[x]) + w2 * (p2[x] + p8[x]) +
      w3 * (p3[x] + p7[x]) + w4 * (p4[x] + p6[x]) + w5 * p5[x];
  }
}

/** Sum of the similarities of a row of windows. */
function compared([a, b, product, squares]: Float32Array[], isCoarsest: boolean): number {
  let sum = 0;
  for (let x = 0; x < a.length; x++) {
    const ofBoth = 2 * a[x] * b[x];
    const squaresOfBoth = a[x] * a[x] + b[x] * b[x];
    const contrast = (2 * product[x] - ofBoth + C2) / (squares[x] - squaresOfBoth + C2);
    sum += isCoarsest ? (contrast * (ofBoth + C1)) / (squaresOfBoth + C1) : contrast;
  }
  return sum;
}

function planeOf({ width, height, data }: Picture, colour: number): Plane {
  const read = (y: number, row: Float32Array) => {
    for (let x = 0, at = 4 * y * width + colour; x < width; x++, at += 4) row[x] = data[at];
  };
  return { width, height, read };
}

/** Means of 2×2 pixels; where a side is odd, its last pixels count twice. */
function halved(plane: Plane): Plane {
  const [width, height] = [(plane.width + 1) >> 1, (plane.height + 1) >> 1];
  const data = new Float32Array(width * height);
  const [upper, lower] = [new Float32Array(plane.width), new Float32Array(plane.width)];
  for (let y = 0, at = 0; y < height; y++) {
    plane.read(2 * y, upper);
    plane.read(Math.min(2 * y + 1, plane.height - 1), lower);
    for (let x = 0; x < width; x++, at++) {
      const right = Math.min(2 * x + 1, plane.width - 1);
      data[at] = (upper[2 * x] + upper[right] + lower[2 * x] + lower[right]) / 4;
    }
  }
  return { width, height, read: (y, row) => row.set(data.subarray(y * width, (y + 1) * width)) };
}

function gaussian(deviation: number): number[] {
  const weights = Array.from({ length: SIZE }, (_, k) => Math.exp(-((k - (SIZE >> 1)) ** 2) / (2 * deviation ** 2)));
  const sum = weights.reduce((before, weight) => before + weight);
  return weights.map((weight) => weight / sum);
}
