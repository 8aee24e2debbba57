// The models that lie beside the page, and their weights, which are fetched when first used.

import { Sentence } from "./bitstream";
import { crc32 } from "./checksum";
import { readTables, type Tables } from "./tables";

/** Where the weights of an encoder or a decoder are. */
export interface Half {
  folder: string;
  /** CRC-32 of graph, index of arrays and weights, so that they can be kept for ever. */
  version: string;
  bytes: number;
}

export interface Decoder extends Half {
  fingerprint: number;
  slice_length: number;
}

export interface ModelInfo {
  name: string;
  lambda: number;
  /** What it was trained for: "mse" or "ms_ssim". */
  distortion?: string;
  channels: number;
  slice_length: number;
  /** Mean figures on the Kodak photographs. */
  kodak?: { bpp: number; psnr: number };
  encoder: Half;
  /** The newest first; files of the others still decode. */
  decoders: Decoder[];
}

export interface Weights {
  graph: Uint8Array;
  /** What the graph calls the file that holds its weights. */
  file: string;
  data: Uint8Array;
  tables: Tables;
}

/** Of the bytes of all files that are being fetched. */
export type BytesFetched = (done: number, total: number) => void;

/** What integers are stored as. */
const INTEGERS: Record<string, typeof Int32Array | typeof Uint16Array> = { int32: Int32Array, uint16: Uint16Array };

const CACHE = "balle2017-weights";

const base = new URL(".", self.location.href);
let listed: Promise<ModelInfo[]> | undefined;

/** All installed models, by family and ascending λ. */
export function listModels(): Promise<ModelInfo[]> {
  listed ??= getAll("models.json").then((bytes) => parse(bytes, "models.json").models as ModelInfo[]);
  listed.catch(() => (listed = undefined));
  return listed;
}

export async function findModel(name: string): Promise<ModelInfo> {
  const models = await listModels();
  const model = models.find((info) => info.name === name);
  if (model) return model;
  const names = models.map((info) => info.name).join(", ");
  throw new Sentence(
    `There is no model ${name} here; ${names ? `installed are ${names}` : "none is installed"}.`,
  );
}

/** Fetches a half of a model: "analysis" of an encoder or "synthesis" of a decoder. */
export async function fetchWeights(half: Half, graph: string, progress?: BytesFetched): Promise<Weights> {
  const url = (name: string) => `${half.folder}/${name}?v=${half.version}`;
  const arrays = await getAll(url("arrays.json"));
  const index = parse(arrays, url("arrays.json"));
  const [graphBytes, data] = await Promise.all([
    getAll(url(`${graph}.onnx`)),
    getAll(url(index.file), (done) => progress?.(done, half.bytes)),
  ]);
  const parts = { [`${graph}.onnx`]: graphBytes, "arrays.json": arrays, [index.file]: data };
  const crc = Object.values(parts).reduce((before, bytes) => crc32(bytes, before), 0);
  if (crc !== parseInt(half.version, 16)) {
    listed = undefined;
    throw notWhole(half.folder);
  }
  for (const [name, bytes] of Object.entries(parts)) await keep(url(name), bytes);
  const integers = (name: string): Int32Array => {
    const { offset, shape, dtype } = index.arrays[`coder/${name}`];
    const Type = INTEGERS[dtype];
    if (!Type) throw new Error(`coder/${name} is ${dtype}`);
    const count = shape.reduce((product: number, side: number) => product * side, 1);
    return Int32Array.from(new Type(data.slice(offset, offset + count * Type.BYTES_PER_ELEMENT).buffer));
  };
  const tables = readTables({
    lookup: integers("lookup"),
    active: integers("active_channels"),
    offsets: integers("offsets"),
    constants: integers("constants"),
  });
  return { graph: graphBytes, file: index.file, data, tables };
}

/** Fetches a file that lies beside the page, unless it is one that is kept. */
export async function get(path: string): Promise<Response> {
  const url = new URL(path, base);
  const kept = url.searchParams.has("v") && (await (await openCache())?.match(url));
  if (kept) return kept;
  let response: Response;
  try {
    response = await fetch(url);
  } catch {
    throw new Sentence(
      `${describe(path)} cannot be fetched: there is no network, and this browser has not kept it.`,
    );
  }
  if (!response.ok) throw new Sentence(`${describe(path)} cannot be fetched (status ${response.status}).`);
  return response;
}

/** The bytes of a file that lies beside the page. */
export async function getAll(path: string, progress?: (done: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const response = await get(path);
  return readAll(response, progress).catch(() => {
    throw notWhole(path);
  });
}

function parse(bytes: Uint8Array, path: string): any {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw notWhole(path);
  }
}

function notWhole(path: string): Sentence {
  return new Sentence(`${describe(path)} has not arrived whole; try it again.`);
}

async function openCache(): Promise<Cache | null> {
  // Browsers that keep nothing, as in private windows, refuse.
  return self.caches ? caches.open(CACHE).catch(() => null) : null;
}

/** Keeps a file that has a version, and nothing of what it replaces. */
async function keep(path: string, bytes: Uint8Array<ArrayBuffer>) {
  const url = new URL(path, base);
  const cache = await openCache();
  if (!cache || (await cache.match(url))) return;
  await cache.delete(url, { ignoreSearch: true });
  // Without room it is fetched again.
  await cache.put(url, new Response(bytes)).catch(() => {});
}

function describe(path: string): string {
  const [, name] = path.match(/^models\/([^/]+)/) ?? [];
  return name ? `The model ${name}` : `A part of this page (${path})`;
}

async function readAll(response: Response, progress?: (done: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (const reader = response.body!.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    progress?.(length);
  }
  const all = new Uint8Array(length);
  let position = 0;
  for (const part of parts) {
    all.set(part, position);
    position += part.length;
  }
  return all;
}
