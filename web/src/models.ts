// The models that lie beside the page, and their weights, which are fetched when first used.

import { Sentence } from "./bitstream";
import { readTables, type Tables } from "./tables";

/** Where the weights of an encoder or a decoder are. */
export interface Half {
  folder: string;
  /** Changes with the contents, so that they can be kept for ever. */
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

const CACHE = "balle2017-weights";

const base = new URL(".", self.location.href);
let listed: Promise<ModelInfo[]> | undefined;

/** All installed models, by family and ascending λ. */
export function listModels(): Promise<ModelInfo[]> {
  listed ??= get("models.json").then(async (response) => (await response.json()).models as ModelInfo[]);
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
  const index = await (await get(url("arrays.json"))).json();
  const [graphBytes, data] = await Promise.all([
    get(url(`${graph}.onnx`)).then(readAll),
    get(url(index.file)).then((response) => readAll(response, (done) => progress?.(done, half.bytes))),
  ]);
  const integers = (name: string): Int32Array => {
    const { offset, shape, dtype } = index.arrays[`coder/${name}`];
    if (dtype !== "int32") throw new Error(`coder/${name} is ${dtype}`);
    const bytes = 4 * shape.reduce((product: number, side: number) => product * side, 1);
    return new Int32Array(data.slice(offset, offset + bytes).buffer);
  };
  const tables = readTables({
    lookup: integers("lookup"),
    active: integers("active_channels"),
    offsets: integers("offsets"),
    constants: integers("constants"),
  });
  return { graph: graphBytes, file: index.file, data, tables };
}

/** Fetches a file that lies beside the page; those with a version are kept for ever. */
export async function get(path: string): Promise<Response> {
  const url = new URL(path, base);
  const cache = url.searchParams.has("v") ? await openCache() : null;
  const kept = await cache?.match(url);
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
  if (cache) await keep(cache, url, response.clone());
  return response;
}

async function openCache(): Promise<Cache | null> {
  // Browsers that keep nothing, as in private windows, refuse.
  return self.caches ? caches.open(CACHE).catch(() => null) : null;
}

async function keep(cache: Cache, url: URL, response: Response) {
  // Of what it replaces nothing is kept.
  await cache.delete(url, { ignoreSearch: true });
  // Not waited for, as it ends with the response's last byte; without room it is fetched again.
  cache.put(url, response).catch(() => {});
}

function describe(path: string): string {
  const [, name] = path.match(/^models\/([^/]+)\//) ?? [];
  return name ? `The model ${name}` : `A part of this page (${path})`;
}

export async function readAll(response: Response, progress?: (done: number) => void): Promise<Uint8Array> {
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
