// The page: files come in, pictures and files go out.

import { isBitstream, Sentence } from "./bitstream";
import { WorkerClient } from "./client";
import type { PictureTile } from "./codec";
import { convertToScreen } from "./colours";
import { Comparison } from "./comparison";
import { byId, formatBpp, formatBytes, saveAs, show } from "./dom";
import { get } from "./models";
import { makeScripting } from "./scripting";
import { Viewer } from "./viewer";
import type { Header } from "./worker";

const coder = new WorkerClient();
const viewer = new Viewer(byId("stage"));
const comparison = new Comparison(coder, viewer, { progress, report, fail, paint });

let current = new AbortController();
let fileName = "";

/** Opens the first of some files; what has not been finished of another before it is given up. */
function openFiles(files: ArrayLike<File> | undefined) {
  const file = files?.[0];
  if (!file) return;
  current.abort();
  current = new AbortController();
  comparison.end();
  show("error", false);
  fileName = file.name || "pasted";
  const { signal } = current;
  byId("others").textContent = `One file at a time: this is the first of ${files.length}.`;
  show("others", files.length > 1);
  show("reading", !byId("welcome").hidden);
  progress("Reading", 0);
  work(file, signal).catch((error) => {
    if (signal.aborted) return;
    fail(error);
    leave();
  });
}

async function work(file: File, signal: AbortSignal) {
  const start = await read(file.slice(0, 4), signal);
  if (isBitstream(start) || file.size === 0 || /\.tfci$/i.test(file.name)) await decodeFile(file, signal);
  else await comparison.begin(file, stem(), signal, enter);
}

async function read(file: Blob, signal: AbortSignal): Promise<Uint8Array> {
  const buffer = await file.arrayBuffer().catch(() => {
    throw new Sentence("The file cannot be read; if it is a folder, open a file in it.");
  });
  signal.throwIfAborted();
  return new Uint8Array(buffer);
}

async function decodeFile(file: File, signal: AbortSignal) {
  const data = await read(file, signal);
  let profile: Uint8Array<ArrayBuffer> | undefined;
  const header = (header: Header) => {
    profile = header.profile;
    const { width, height } = header;
    viewer.reset(width, height);
    enter("decoding", `${width} × ${height} pixels, ${formatBytes(data.length)}`);
    viewer.compare(false);
    byId("right-tag").textContent = "";
    describe([
      ["Model", header.model],
      ["Colours", (header.channels === 3 ? "RGB" : "grayscale") + (profile ? ", with a profile" : "")],
      ["Size of the file", `${data.length.toLocaleString("en")} bytes`],
      ["Bits per pixel", formatBpp(data.length, width * height)],
      ["Slices", String(header.numSlices)],
      ["Metadata", header.metadata.map((tag) => tag.trim()).join(", ") || "none"],
    ]);
  };
  const save = byId<HTMLButtonElement>("save");
  save.disabled = true;
  await coder.call("decode", [data], { header, progress, tile: paint, signal });
  if (profile) {
    progress("Applying the colour profile", 0);
    await convertToScreen(viewer.right, profile, signal);
  }
  save.disabled = false;
  report("Decoded.");
}

/** Shows the part of the page that is for pictures. */
function enter(kind: "encoding" | "decoding", facts: string) {
  show("welcome", false);
  show("reading", false);
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
  for (const id of ["work", "open", "reading", "others"]) show(id, false);
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

/** Says what is going on, and how far it is. */
function progress(what: string, share: number) {
  say(`${what} …`);
  byId<HTMLProgressElement>("progress").value = share;
  show("progress", true);
}

/** Says what has been done. */
function report(what: string) {
  say(what);
  show("progress", false);
}

function say(text: string) {
  const status = byId("status");
  // Screen readers would say it again.
  if (status.textContent !== text) status.textContent = text;
}

function fail(error: Error) {
  report("");
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
  const before = current;
  try {
    const example = await (await get("example.jpg")).blob();
    // Unless another file has come first.
    if (current === before) openFiles([new File([example], "example.jpg")]);
  } catch (error) {
    if (current === before) fail(error as Error);
  }
}

function listen() {
  const input = byId<HTMLInputElement>("file");
  for (const id of ["choose", "open"]) byId(id).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    openFiles(input.files ?? undefined);
    // The same file may be chosen again.
    input.value = "";
  });
  byId("example").addEventListener("click", openExample);
  byId("save").addEventListener("click", savePng);
  document.addEventListener("paste", (event) => openFiles(event.clipboardData?.files));
  let depth = 0;
  const dragging = (change: number) => {
    depth = change && depth + change;
    document.body.classList.toggle("dragging", depth > 0);
  };
  const withFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => withFiles(event) && dragging(1));
  document.addEventListener("dragleave", (event) => withFiles(event) && dragging(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    dragging(0);
    openFiles(event.dataTransfer?.files);
  });
}

listen();
// Where it is refused, as without HTTPS, the page needs the network the next time.
navigator.serviceWorker?.register("service_worker.js").catch(() => {});
(window as any).balle2017 = makeScripting();
