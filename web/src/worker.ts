// What runs beside the page: one such worker codes, another makes the files to compare with.

import { Sentence } from "./bitstream";
import * as codec from "./codec";
import { fidelityOf, type Measure } from "./fidelity";
import { findModel, listModels, type ModelInfo } from "./models";
import { copyTile, emptyPicture, matchSize, readPicture, toBitmap } from "./picture";

/** From the page. */
export type Request = { id: number; method: keyof typeof methods; args: any[] } | { cancel: number };

/** To the page; the last of a request is its result or its error. */
export type Reply =
  | { id: number; progress: [string, number] }
  | { id: number; header: Header }
  | { id: number; tile: codec.PictureTile }
  | { id: number; result: any }
  | { id: number; error: string; isExpected: boolean };

/** What is known of a file before its picture is. */
export interface Header {
  model: string;
  width: number;
  height: number;
  channels: number;
  numSlices: number;
  /** Tags. */
  metadata: string[];
  /** The ICC profile that the colours are in; without one they are sRGB. */
  profile?: Uint8Array<ArrayBuffer>;
}

class Cancelled extends Sentence {}

let source: codec.Picture;
let coded: { model: ModelInfo; latents: codec.Latents };
const cancelled = new Set<number>();
// One request after the other.
let last: Promise<unknown> = Promise.resolve();

const methods = {
  models: () => listModels(),

  /** Keeps a photograph for what follows. */
  async read(_: Context, file: Blob) {
    source = await readPicture(file);
    return { width: source.width, height: source.height };
  },

  async original() {
    return toBitmap(source);
  },

  /** Fetches what coding takes. */
  async prepare(context: Context, name: string) {
    await codec.prepare(await findModel(name), context);
  },

  /** Codes the photograph. */
  async encode(context: Context, name: string) {
    const model = await findModel(name);
    const latents = await codec.analyze(source, model, context);
    const file = await codec.encode(latents, source, model, context);
    coded = { model, latents };
    return file;
  },

  /** Decodes what has just been coded. */
  async reconstruct(context: Context, measure: Measure) {
    const { model, latents } = coded;
    const { width, height } = source;
    const contents = { model: model.name, fingerprint: model.decoders[0].fingerprint, width, height };
    const decoded = emptyPicture(source);
    for await (const tile of codec.synthesize(latents, contents, model, context)) {
      copyTile(tile, decoded);
      context.tile(tile);
    }
    return fidelityOf(source, decoded, measure, context.breathe);
  },

  /** Codes latents. */
  async encodeLatents(context: Context, name: string, latents: codec.Latents, width: number, height: number) {
    return codec.encode(latents, { width, height }, await findModel(name), context);
  },

  async decode(context: Context, data: Uint8Array, wantsLatents = false) {
    const { contents, model } = await codec.open(data);
    const { width, height, channels, metadata, slices } = contents;
    context.header({
      model: model.name, width, height, channels, numSlices: slices.length,
      metadata: [...metadata.keys()],
      profile: metadata.get("ICCP"),
    });
    const latents = await codec.decode(contents, model, context);
    for await (const tile of codec.synthesize(latents, contents, model, context)) context.tile(tile);
    return { model: model.name, width, height, channels, latents: wantsLatents ? latents : null };
  },

  async match(context: Context, type: string, bytes: number, measure: Measure) {
    return matchSize(source, type, bytes, measure, context.breathe);
  },
};

class Context implements codec.Task {
  private lastBreath = 0;

  constructor(private id: number) {}

  progress = (what: string, share: number) => {
    reply({ id: this.id, progress: [what, share] });
  };

  header(header: Header) {
    reply({ id: this.id, header });
  }

  tile(tile: codec.PictureTile) {
    reply({ id: this.id, tile }, [tile.data.buffer]);
  }

  breathe = async () => {
    if (performance.now() - this.lastBreath > 20) {
      await new Promise((resolve) => setTimeout(resolve));
      this.lastBreath = performance.now();
    }
    if (cancelled.has(this.id)) throw new Cancelled("Cancelled.");
  };
}

function reply(message: Reply, transfer: Transferable[] = []) {
  postMessage(message, { transfer });
}

async function answer({ id, method, args }: Exclude<Request, { cancel: number }>) {
  try {
    if (cancelled.has(id)) throw new Cancelled("Cancelled.");
    const result = await (methods[method] as any)(new Context(id), ...args);
    reply({ id, result });
  } catch (error) {
    reply({ id, ...explain(error) });
  } finally {
    cancelled.delete(id);
  }
}

function explain(error: unknown): { error: string; isExpected: boolean } {
  if (error instanceof Sentence) return { error: error.message, isExpected: true };
  if (error instanceof RangeError) return { error: "There is not enough memory for it.", isExpected: true };
  return { error: error instanceof Error ? (error.stack ?? error.message) : String(error), isExpected: false };
}

onmessage = ({ data }: MessageEvent<Request>) => {
  if ("cancel" in data) cancelled.add(data.cancel);
  else last = last.then(() => answer(data));
};
