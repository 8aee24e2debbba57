// The codec: pixels to the bytes of a .tfci file and back.

import { latentSize, pack, Sentence, STRIDE, unpack, type Bitstream } from "./bitstream";
import { fetchWeights, findModel, type Decoder, type Half, type ModelInfo } from "./models";
import { SliceCoder } from "./slices";
import { ANALYSIS_CONTEXT, SYNTHESIS_CONTEXT, tiles } from "./tiling";
import { Transform } from "./transforms";

// What a page can hold several times; the commands go further.
const MAX_PIXELS = 50_000_000;
// No browser's canvas is larger for sure.
const MAX_SIDE = 32767;
// Halves of models that stay ready.
const MAX_LOADED = 8;

/** Interleaved, with an opaque alpha channel. */
export interface Picture {
  data: Uint8ClampedArray<ArrayBuffer>;
  width: number;
  height: number;
}

/** A part of a decoded picture. */
export interface PictureTile extends Picture {
  left: number;
  top: number;
}

/** How far something is, for people: what is done, and the share of it. */
export type Progress = (what: string, share: number) => void;

export interface Task {
  progress: Progress;
  /** Ends the task if it is no longer wanted, and lets messages in. */
  breathe: () => Promise<void>;
}

export interface Latents {
  data: Int32Array;
  height: number;
  width: number;
}

interface Loaded {
  coder: SliceCoder;
  transform: Transform;
}

const loaded = new Map<string, Promise<Loaded>>();

export function checkSize(width: number, height: number) {
  const limit =
    width * height > MAX_PIXELS ? `${MAX_PIXELS} pixels` : Math.max(width, height) > MAX_SIDE && `${MAX_SIDE} a side`;
  if (limit) {
    throw new Sentence(
      `The picture is too large for a page (${width}×${height}, more than ${limit});` +
        " the command balle2017 takes it.",
    );
  }
}

/** Fetches both halves of a model. */
export async function prepare(model: ModelInfo, task: Task) {
  await load(model, model.encoder, "analysis", task);
  await load(model, model.decoders[0], "synthesis", task);
}

/** Latents of a picture, by the encoder of a model. */
export async function analyze(picture: Picture, model: ModelInfo, task: Task): Promise<Latents> {
  const { coder, transform } = await load(model, model.encoder, "analysis", task);
  const [height, width] = latentSize(picture.height, picture.width);
  const depth = coder.numLatents;
  const data = new Int32Array(height * width * depth);
  const parts = tiles(height, width, ANALYSIS_CONTEXT);
  for (const [index, tile] of parts.entries()) {
    task.progress("Analysis transform", index / parts.length);
    await task.breathe();
    const { outer } = tile;
    const [rows, cols] = [outer.bottom - outer.top, outer.right - outer.left];
    const pixels = cut(picture, outer.left * STRIDE, outer.top * STRIDE, cols * STRIDE, rows * STRIDE);
    const latents = await transform.run(pixels, rows * STRIDE, cols * STRIDE);
    for (let y = tile.top; y < tile.bottom; y++) {
      const from = ((y - outer.top) * cols + tile.left - outer.left) * depth;
      const row = latents.subarray(from, from + (tile.right - tile.left) * depth);
      data.set(row, (y * width + tile.left) * depth);
    }
  }
  return { data, height, width };
}

/** The bytes of a file. */
export async function encode(
  latents: Latents, size: { width: number; height: number }, model: ModelInfo, task: Task,
): Promise<Uint8Array<ArrayBuffer>> {
  const { coder } = await load(model, model.encoder, "analysis", task);
  const slices = await watch(coder.encode(latents.data, model.slice_length), "Range coding", task);
  return pack({
    model: model.name,
    fingerprint: model.decoders[0].fingerprint,
    width: size.width,
    height: size.height,
    channels: model.channels,
    sliceLength: model.slice_length,
    slices,
  });
}

/** What a file holds, and the model that it needs. */
export async function open(data: Uint8Array): Promise<{ contents: Bitstream; model: ModelInfo }> {
  const contents = unpack(data);
  checkSize(contents.width, contents.height);
  const model = await findModel(contents.model);
  const { slice_length } = decoderOf(model, contents);
  if (contents.channels !== model.channels) {
    throw new Sentence(`${model.name} does not code ${contents.channels} channels.`);
  }
  if (contents.sliceLength !== slice_length) {
    throw new Sentence(
      `The file has slices of ${contents.sliceLength} positions, and ${model.name} makes them of ${slice_length}.`,
    );
  }
  return { contents, model };
}

/** Latents of what a file holds. */
export async function decode(contents: Bitstream, model: ModelInfo, task: Task): Promise<Latents> {
  const { coder } = await load(model, decoderOf(model, contents), "synthesis", task);
  const [height, width] = latentSize(contents.height, contents.width);
  const decoding = coder.decode(contents.slices, height * width, contents.sliceLength);
  return { data: await watch(decoding, "Range decoding", task), height, width };
}

/** Yields a picture in tiles, from top to bottom. */
export async function* synthesize(
  latents: Latents, contents: Pick<Bitstream, "width" | "height" | "fingerprint" | "model">, model: ModelInfo,
  task: Task,
): AsyncGenerator<PictureTile> {
  const { transform } = await load(model, decoderOf(model, contents), "synthesis", task);
  const depth = latents.data.length / (latents.height * latents.width);
  const parts = tiles(latents.height, latents.width, SYNTHESIS_CONTEXT);
  for (const [index, tile] of parts.entries()) {
    task.progress("Synthesis transform", index / parts.length);
    await task.breathe();
    const { outer } = tile;
    const [rows, cols] = [outer.bottom - outer.top, outer.right - outer.left];
    const input = new Int32Array(rows * cols * depth);
    for (let y = 0; y < rows; y++) {
      const from = ((outer.top + y) * latents.width + outer.left) * depth;
      input.set(latents.data.subarray(from, from + cols * depth), y * cols * depth);
    }
    const pixels = await transform.run(input, rows, cols);
    const [left, top] = [tile.left * STRIDE, tile.top * STRIDE];
    const width = Math.min(tile.right * STRIDE, contents.width) - left;
    const height = Math.min(tile.bottom * STRIDE, contents.height) - top;
    const data = new Uint8ClampedArray(4 * width * height).fill(255);
    const isColour = model.channels === 3;
    for (let y = 0, to = 0; y < height; y++) {
      const row = (top - outer.top * STRIDE + y) * cols * STRIDE + left - outer.left * STRIDE;
      for (let x = 0; x < width; x++, to += 4) {
        const from = (row + x) * model.channels;
        data[to] = pixels[from];
        data[to + 1] = pixels[isColour ? from + 1 : from];
        data[to + 2] = pixels[isColour ? from + 2 : from];
      }
    }
    yield { data, left, top, width, height };
  }
}

function decoderOf(model: ModelInfo, contents: Pick<Bitstream, "fingerprint" | "model">): Decoder {
  const half = model.decoders.find(({ fingerprint }) => fingerprint === contents.fingerprint);
  if (half) return half;
  const hex = (fingerprint: number) => fingerprint.toString(16).padStart(8, "0");
  const known = model.decoders.map(({ fingerprint }) => hex(fingerprint)).join(" or ");
  throw new Sentence(
    `The file was made by a model ${contents.model} with fingerprint ${hex(contents.fingerprint)};` +
      ` the installed ${model.name} has ${known} and cannot decode it.`,
  );
}

function load(model: ModelInfo, half: Half, graph: "analysis" | "synthesis", task: Task): Promise<Loaded> {
  const key = `${half.folder}?${half.version}`;
  let found = loaded.get(key);
  if (!found) {
    const what = `Fetching ${model.name}`;
    const start = async (): Promise<Loaded> => {
      const weights = await fetchWeights(half, graph, (done, total) => task.progress(what, done / total));
      task.progress("Starting the codec", 0);
      return { coder: new SliceCoder(weights.tables), transform: await Transform.load(weights) };
    };
    found = start();
    found.catch(() => loaded.delete(key));
  }
  // The longest unused is the first of the map.
  loaded.delete(key);
  loaded.set(key, found);
  for (const [old, value] of loaded) {
    if (loaded.size <= MAX_LOADED) break;
    loaded.delete(old);
    value.then(({ transform }) => transform.release(), () => {});
  }
  return found;
}

/** Colours of a part of a picture; beyond its right and lower border its last pixels are repeated. */
function cut(picture: Picture, left: number, top: number, width: number, height: number): Uint8Array {
  const out = new Uint8Array(3 * width * height);
  for (let y = 0, to = 0; y < height; y++) {
    const row = Math.min(top + y, picture.height - 1) * picture.width;
    for (let x = 0; x < width; x++) {
      const from = 4 * (row + Math.min(left + x, picture.width - 1));
      out[to++] = picture.data[from];
      out[to++] = picture.data[from + 1];
      out[to++] = picture.data[from + 2];
    }
  }
  return out;
}

async function watch<T>(work: Generator<number, T>, what: string, task: Task): Promise<T> {
  task.progress(what, 0);
  for (;;) {
    await task.breathe();
    const step = work.next();
    if (step.done) return step.value;
    task.progress(what, step.value);
  }
}
