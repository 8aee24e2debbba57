// The page's side of a worker.

import { Sentence } from "./bitstream";
import type { PictureTile } from "./codec";
import type { Header, Reply, Request } from "./worker";

export interface Listener {
  progress?: (what: string, share: number) => void;
  header?: (header: Header) => void;
  tile?: (tile: PictureTile) => void;
  signal?: AbortSignal;
}

interface Pending extends Listener {
  resolve: (result: any) => void;
  reject: (error: Error) => void;
}

export class WorkerClient {
  private worker = new Worker("worker.js", { type: "module" });
  private pending = new Map<number, Pending>();
  private count = 0;

  constructor() {
    this.worker.onmessage = ({ data }: MessageEvent<Reply>) => this.receive(data);
    this.worker.onerror = (event) => {
      for (const { reject } of this.pending.values()) {
        reject(new Error(event.message || "A part of this page cannot be loaded."));
      }
      this.pending.clear();
    };
  }

  /** Calls a method of the worker; a signal that aborts ends it with an `AbortError`. */
  call(method: string, args: unknown[], listener: Listener = {}): Promise<any> {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      listener.signal?.throwIfAborted();
      this.pending.set(id, { ...listener, resolve, reject });
      listener.signal?.addEventListener("abort", () => {
        if (!this.pending.delete(id)) return;
        this.worker.postMessage({ cancel: id } satisfies Request);
        reject(new DOMException("Cancelled.", "AbortError"));
      });
      this.worker.postMessage({ id, method, args });
    });
  }

  private receive(reply: Reply) {
    const pending = this.pending.get(reply.id);
    if (!pending) return;
    if ("progress" in reply) return pending.progress?.(...reply.progress);
    if ("header" in reply) return pending.header?.(reply.header);
    if ("tile" in reply) return pending.tile?.(reply.tile);
    this.pending.delete(reply.id);
    if ("result" in reply) return pending.resolve(reply.result);
    pending.reject(reply.isExpected ? new Sentence(reply.error) : new Error(reply.error));
  }
}
