// Keeps the page, so that it is there without a network; and adds the headers by which a page may use several
// threads, which few hosts of static files send.

declare const SHELL: string[];
declare const VERSION: string;

const worker = self as unknown as ServiceWorkerGlobalScope;
const SHELL_CACHE = `balle2017-page-${VERSION}`;

interface ServiceWorkerGlobalScope extends EventTarget {
  registration: { scope: string };
  clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
}
interface ExtendableEvent extends Event {
  waitUntil(promise: Promise<unknown>): void;
}
interface FetchEvent extends ExtendableEvent {
  request: Request;
  respondWith(response: Promise<Response>): void;
}

worker.addEventListener("install", (event) => {
  const fill = async () => {
    const cache = await caches.open(SHELL_CACHE);
    await cache.addAll(SHELL.map((path) => new Request(path, { cache: "reload" })));
    await worker.skipWaiting();
  };
  (event as ExtendableEvent).waitUntil(fill());
});

worker.addEventListener("activate", (event) => {
  const tidy = async () => {
    for (const name of await caches.keys()) {
      if (name.startsWith("balle2017-page-") && name !== SHELL_CACHE) await caches.delete(name);
    }
    await worker.clients.claim();
  };
  (event as ExtendableEvent).waitUntil(tidy());
});

worker.addEventListener("fetch", (event) => {
  const { request, respondWith } = event as FetchEvent;
  const isOurs = request.method === "GET" && request.url.startsWith(worker.registration.scope);
  // Weights, which have a version, are kept by those who use them.
  if (!isOurs || new URL(request.url).searchParams.has("v")) return;
  respondWith.call(event, page(request).then(isolate));
});

/** The page is as new as the network allows. */
async function page(request: Request): Promise<Response> {
  const cache = await caches.open(SHELL_CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) cache.put(request.url, response.clone()).catch(() => {});
    return response;
  } catch (error) {
    const kept = await cache.match(request.url, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

function isolate(response: Response): Response {
  if (response.type === "opaque" || response.status === 0) return response;
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
