// Bundles the page into balle2017/web/static, where the Python package takes it from: `npm run build`.

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const OUT = new URL("../balle2017/web/static/", import.meta.url);
const RUNTIME = new URL("node_modules/onnxruntime-web/", import.meta.url);
const LIMIT = 6e6;

const files = new Map();
for (const name of ["index.html", "style.css", "icon.svg", "manifest.json", "licenses.txt"]) {
  files.set(name, await readFile(new URL(`src/${name}`, import.meta.url)));
}

async function bundle(name, define = {}) {
  const result = await esbuild.build({
    entryPoints: [new URL(`src/${name}.ts`, import.meta.url).pathname],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    conditions: ["onnxruntime-web-use-extern-wasm"],
    define,
    write: false,
  });
  files.set(`${name}.js`, Buffer.from(result.outputFiles[0].contents));
}

await bundle("app");
await bundle("worker");
// The runtime's own script stays a file, as its threads start from it.
files.set("ort-wasm-simd-threaded.mjs", await readFile(new URL("dist/ort-wasm-simd-threaded.mjs", RUNTIME)));
const wasm = await readFile(new URL("dist/ort-wasm-simd-threaded.wasm", RUNTIME));
files.set("ort-wasm-simd-threaded.wasm.gz", gzipSync(wasm, { level: 9 }));

const hash = createHash("sha256");
for (const [name, content] of files) hash.update(name).update(content);
const shell = ["./", ...[...files.keys()].filter((name) => name !== "index.html"), "models.json", "example.jpg"];
await bundle("service_worker", {
  SHELL: JSON.stringify(shell),
  VERSION: JSON.stringify(hash.digest("hex").slice(0, 12)),
});

// By which a test tells that what is committed was built from what is committed.
const sources = createHash("sha256");
for (const name of (await readdir(new URL("src/", import.meta.url))).sort()) {
  sources.update(await readFile(new URL(`src/${name}`, import.meta.url)));
}
for (const name of ["build.mjs", "package-lock.json"]) sources.update(await readFile(new URL(name, import.meta.url)));
files.set("sources.sha256", Buffer.from(`${sources.digest("hex")}\n`));

await rm(OUT, { recursive: true, force: true });
await mkdir(OUT, { recursive: true });
for (const [name, content] of files) await writeFile(new URL(name, OUT), content);
const size = [...files.values()].reduce((sum, content) => sum + content.length, 0);
console.log(`${files.size} files, ${(size / 1e6).toFixed(2)} MB`);
if (size > LIMIT) throw new Error("That is too much for the package.");
