// The transforms: the models' ONNX graphs in onnxruntime-web.

import * as ort from "onnxruntime-web/wasm";
import { getAll, type Weights } from "./models";

const MAX_THREADS = 8;

let ready: Promise<void> | undefined;

export class Transform {
  private constructor(private session: ort.InferenceSession) {}

  static async load(weights: Weights): Promise<Transform> {
    ready ??= prepare();
    ready.catch(() => (ready = undefined));
    await ready;
    const session = await ort.InferenceSession.create(weights.graph, {
      executionProviders: ["wasm"],
      externalData: [{ path: weights.file, data: weights.data }],
    });
    return new Transform(session);
  }

  /** Runs the graph, whose one input and one output are `[1, height, width, channels]`. */
  async run<T extends Uint8Array | Int32Array>(data: T, height: number, width: number): Promise<Uint8Array | Int32Array> {
    const type = data instanceof Int32Array ? "int32" : "uint8";
    const shape = [1, height, width, data.length / (height * width)];
    const [input] = this.session.inputNames;
    const [output] = this.session.outputNames;
    const results = await this.session.run({ [input]: new ort.Tensor(type, data, shape) });
    const result = results[output].data as Uint8Array | Int32Array;
    results[output].dispose();
    return result;
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

async function prepare() {
  // Threads need memory that they share, which browsers give to isolated pages only.
  ort.env.wasm.numThreads = self.crossOriginIsolated
    ? Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1)
    : 1;
  ort.env.wasm.wasmPaths = { mjs: new URL("ort-wasm-simd-threaded.mjs", self.location.href) };
  const packed = await getAll("ort-wasm-simd-threaded.wasm.gz");
  ort.env.wasm.wasmBinary = await unzip(packed);
}

/** Some hosts say that a file of this name is packed, and the browser has unpacked it then. */
async function unzip(data: Uint8Array): Promise<ArrayBuffer> {
  const copy = data as Uint8Array<ArrayBuffer>;
  if (data[0] !== 0x1f || data[1] !== 0x8b) return copy.buffer;
  const stream = new Blob([copy]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}
