// The page: files come in, pictures and files go out.

import { isBitstream, Sentence } from "./bitstream";
import { WorkerClient } from "./client";
import type { PictureTile } from "./codec";
import { Comparison } from "./comparison";
import { byId, formatBpp, formatBytes, saveAs, show } from "./dom";
import { makeScripting } from "./scripting";
import { Viewer } from "./viewer";
import type { Header } from "./worker";

const coder = new WorkerClient();
const viewer = new Viewer(byId("stage"));
const comparison = new Comparison(coder, viewer, { report, fail, paint });

let current = new AbortController();
let fileName = "";

function openFile(file: File | undefined) {
  if (!file) return;
  current.abort();
  current = new AbortController();
  comparison.end();
  show("error", false);
  fileName = file.name || "pasted";
  work(file, current.signal).catch((error) => {
    fail(error);
    if (error.name !== "AbortError") leave();
  });
}

async function work(file: File, signal: AbortSignal) {
  report("Reading", 0);
  const start = new Uint8Array(await file.slice(0, 4).arrayBuffer());
  if (isBitstream(start) || file.size === 0 || /\.tfci$/i.test(fileName)) await decodeFile(file, signal);
  else await comparison.begin(file, stem(), signal, enter);
}

async function decodeFile(file: File, signal: AbortSignal) {
  const data = new Uint8Array(await file.arrayBuffer());
  const header = (header: Header) => {
    const { width, height } = header;
    viewer.reset(width, height);
    enter("decoding", `${width} × ${height} pixels, ${formatBytes(data.length)}`);
    viewer.compare(false);
    byId("right-tag").textContent = "";
    describe([
      ["Model", header.model],
      ["Colours", header.channels === 3 ? "RGB" : "grayscale"],
      ["Size of the file", `${data.length.toLocaleString("en")} bytes`],
      ["Bits per pixel", formatBpp(data.length, width * height)],
      ["Slices", String(header.numSlices)],
      ["Metadata", header.metadata.map((tag) => tag.trim()).join(", ") || "none"],
    ]);
  };
  const save = byId<HTMLButtonElement>("save");
  save.disabled = true;
  await coder.call("decode", [data], { header, progress: report, tile: paint, signal });
  save.disabled = false;
  report("Decoded.", 1);
}

/** Shows the part of the page that is for pictures. */
function enter(kind: "encoding" | "decoding", facts: string) {
  show("welcome", false);
  show("work", true);
  show("open", true);
  show("encoding", kind === "encoding");
  show("decoding", kind === "decoding");
  show("download", kind === "encoding");
  byId("name").textContent = fileName;
  byId("facts").textContent = facts;
  document.title = `${fileName} – balle2017`;
  viewer.fit();
}

/** Without a picture. */
function leave() {
  comparison.end();
  for (const id of ["work", "open"]) show(id, false);
  show("welcome", true);
  document.title = "balle2017";
}

function describe(facts: [string, string][]) {
  byId("decoding").replaceChildren(
    ...facts.flatMap(([term, value]) => {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      [dt.textContent, dd.textContent] = [term, value];
      return [dt, dd];
    }),
  );
}

function paint(tile: PictureTile) {
  const context = viewer.right.getContext("2d")!;
  context.putImageData(new ImageData(tile.data, tile.width, tile.height), tile.left, tile.top);
}

/** Says what is going on; with a share of 1 that it is over. */
function report(what: string, share: number) {
  const status = byId("status");
  const text = share < 1 ? `${what} …` : what;
  // Screen readers would say it again.
  if (status.textContent !== text) status.textContent = text;
  const bar = byId<HTMLProgressElement>("progress");
  bar.value = share;
  bar.hidden = share >= 1;
}

function fail(error: Error) {
  if (error.name === "AbortError") return;
  report("", 1);
  const box = byId("error");
  const isKnown = error instanceof Sentence;
  box.textContent = isKnown ? error.message : `Something went wrong in this page: ${error.message}`;
  box.hidden = false;
  box.scrollIntoView({ block: "nearest" });
}

function stem(): string {
  return fileName.replace(/\.[^.]*$/, "") || fileName;
}

function savePng() {
  viewer.right.toBlob((blob) => {
    if (blob) saveAs(blob, `${stem()}.png`);
    else fail(new Sentence("The browser cannot write so large a PNG file; balle2017 decompress can."));
  });
}

async function openExample() {
  try {
    const response = await fetch("example.jpg");
    if (!response.ok) throw new Error(`status ${response.status}`);
    openFile(new File([await response.blob()], "example.jpg"));
  } catch {
    fail(new Sentence("The example cannot be fetched."));
  }
}

function listen() {
  const input = byId<HTMLInputElement>("file");
  for (const id of ["choose", "open"]) byId(id).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    openFile(input.files?.[0]);
    // The same file may be chosen again.
    input.value = "";
  });
  byId("example").addEventListener("click", openExample);
  byId("save").addEventListener("click", savePng);
  document.addEventListener("paste", (event) => openFile(event.clipboardData?.files[0]));
  let depth = 0;
  const dragging = (change: number) => {
    depth = change && depth + change;
    document.body.classList.toggle("dragging", depth > 0);
  };
  document.addEventListener("dragenter", () => dragging(1));
  document.addEventListener("dragleave", () => dragging(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(0);
    openFile(event.dataTransfer?.files[0]);
  });
}

listen();
// Where it is refused, as without HTTPS, the page needs the network the next time.
navigator.serviceWorker?.register("service_worker.js").catch(() => {});
(window as any).balle2017 = makeScripting();
