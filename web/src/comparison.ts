// A photograph, what the chosen rate point makes of it, and what other codecs make of it in as many bytes.

import { Sentence } from "./bitstream";
import { WorkerClient } from "./client";
import type { PictureTile } from "./codec";
import { byId, formatBpp, formatBytes, saveAs, show } from "./dom";
import { type Fidelity, formatFidelity, measureOf } from "./fidelity";
import type { ModelInfo } from "./models";
import type { Match } from "./picture";
import type { Viewer } from "./viewer";

const RIVALS = { jpeg: "JPEG", webp: "WebP" } as const;
type Rival = keyof typeof RIVALS;

// Pixels of coded pictures that are kept, so that the slider goes back at once.
const KEPT_PIXELS = 60e6;
// Milliseconds for which the slider has to rest.
const SLIDER_PAUSE = 150;

interface Page {
  progress: (what: string, share: number) => void;
  report: (what: string) => void;
  fail: (error: Error) => void;
  paint: (tile: PictureTile) => void;
}

/** The photograph as a rate point codes it. */
interface Coded {
  file: Uint8Array<ArrayBuffer>;
  fidelity: Fidelity;
  picture?: ImageBitmap;
  rivals: { [rival in Rival]?: Match };
}

export class Comparison {
  /** Makes the files to compare with. */
  private rivals = new WorkerClient();
  private models: ModelInfo[] = [];
  private coded = new Map<string, Coded>();
  private shown?: Coded;
  private original?: ImageBitmap;
  private originalBytes = 0;
  private width = 1;
  private height = 1;
  private stem = "";
  private point = new AbortController();
  private timer = 0;

  constructor(private coder: WorkerClient, private viewer: Viewer, private page: Page) {
    byId("rate").addEventListener("input", () => {
      if (!this.original) return;
      // While the slider is being drawn past them, rate points are named and not computed,
      // and nothing that is shown belongs to what is named.
      this.name();
      this.point.abort();
      this.page.report("");
      this.setBusy(true);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.select(), SLIDER_PAUSE);
    });
    byId("family").addEventListener("change", () => this.chooseFamily());
    byId("encoding").addEventListener("change", (event) => {
      if ((event.target as HTMLInputElement).name === "rival") this.showLeft();
    });
    byId("download").addEventListener("click", () => {
      if (this.shown) saveAs(new Blob([this.shown.file]), `${this.stem}.tfci`);
    });
  }

  /** Reads a photograph and codes it. */
  async begin(
    file: File, stem: string, signal: AbortSignal, enter: (kind: "encoding", facts: string) => void,
  ) {
    const [{ width, height }, , models] = await Promise.all([
      this.coder.call("read", [file], { signal }),
      this.rivals.call("read", [file], { signal }),
      this.coder.call("models", [], { signal }),
    ]);
    const original: ImageBitmap = await this.rivals.call("original", [], { signal });
    signal.throwIfAborted();
    signal.addEventListener("abort", () => this.point.abort());
    [this.width, this.height, this.stem, this.original] = [width, height, stem, original];
    this.originalBytes = file.size;
    this.models = models.filter((model: ModelInfo) => model.channels === 3);
    if (!this.models.length) throw new Sentence("There are no models for photographs here.");
    this.viewer.reset(width, height);
    this.viewer.right.getContext("2d")!.drawImage(original, 0, 0);
    enter("encoding", `${width} × ${height} pixels, ${formatBytes(file.size)}`);
    this.fillRow("balle2017", ["…", "", ""]);
    for (const rival of Object.keys(RIVALS) as Rival[]) this.showRival(rival);
    this.fillRow("original", [formatBytes(file.size), formatBpp(file.size, width * height), ""]);
    this.listFamilies();
    this.showLeft();
    this.select();
  }

  /** Forgets the photograph. */
  end() {
    clearTimeout(this.timer);
    this.point.abort();
    this.original?.close();
    this.original = this.shown = undefined;
    this.setBusy(false);
    for (const coded of this.coded.values()) closeAll(coded);
    this.coded.clear();
  }

  private listFamilies() {
    const select = byId<HTMLSelectElement>("family");
    const families = [...new Set(this.models.map(familyOf))];
    const before = select.value;
    select.replaceChildren(...families.map((family) => new Option(family)));
    if (families.includes(before)) select.value = before;
    show("family-choice", families.length > 1);
    const slider = byId<HTMLInputElement>("rate");
    const before_point = slider.max ? slider.valueAsNumber : NaN;
    const last = this.family().length - 1;
    slider.max = String(last);
    slider.value = String(Number.isNaN(before_point) ? last >> 1 : Math.min(last, before_point));
  }

  private chooseFamily() {
    const slider = byId<HTMLInputElement>("rate");
    slider.max = String(this.family().length - 1);
    this.select();
  }

  private family(): ModelInfo[] {
    const family = byId<HTMLSelectElement>("family").value;
    return this.models.filter((model) => familyOf(model) === family);
  }

  /** Says which rate point the slider is on. */
  private name(): ModelInfo {
    const slider = byId<HTMLInputElement>("rate");
    const model = this.family()[slider.valueAsNumber];
    byId("model").textContent = model.name;
    slider.setAttribute("aria-valuetext", `${model.name}, λ ${model.lambda}`);
    return model;
  }

  /** Shows the rate point of the slider. */
  private select() {
    clearTimeout(this.timer);
    if (!this.original) return;
    this.point.abort();
    this.point = new AbortController();
    show("error", false);
    const { signal } = this.point;
    this.showPoint(this.name(), signal).catch((error) => {
      if (signal.aborted) return;
      this.page.fail(error);
      this.goBack();
    });
  }

  /** To the rate point that was shown before. */
  private goBack() {
    const index = this.family().findIndex((model) => this.shown && this.coded.get(model.name) === this.shown);
    byId("work").setAttribute("aria-busy", "false");
    if (index < 0 || !this.shown?.picture) return;
    byId<HTMLInputElement>("rate").value = String(index);
    this.name();
    this.viewer.right.getContext("2d")!.drawImage(this.shown.picture, 0, 0);
    this.setBusy(false);
    this.tagRight();
  }

  private async showPoint(model: ModelInfo, signal: AbortSignal) {
    let coded = this.coded.get(model.name);
    if (coded?.picture) {
      this.viewer.right.getContext("2d")!.drawImage(coded.picture, 0, 0);
      this.page.report("");
    } else {
      this.setBusy(true);
      tag("right", "balle2017", "…");
      const { progress, paint: tile } = this.page;
      await this.coder.call("prepare", [model.name], { progress, signal });
      const times = [performance.now()];
      const file = await this.coder.call("encode", [model.name], { progress, signal });
      times.push(performance.now());
      const measure = measureOf(model, this.width, this.height);
      const fidelity = await this.coder.call("reconstruct", [measure], { progress, tile, signal });
      times.push(performance.now());
      const [coding, decoding] = [1, 2].map((i) => ((times[i] - times[i - 1]) / 1000).toFixed(1));
      this.page.report(`Coded in ${coding} s, decoded in ${decoding} s.`);
      coded = { file, fidelity, rivals: coded?.rivals ?? {} };
      // The longest unused is the first of the map.
      this.coded.delete(model.name);
      this.coded.set(model.name, coded);
      await this.keepPicture(coded);
      signal.throwIfAborted();
    }
    this.setBusy(false);
    this.shown = coded;
    for (const measure of ["psnr", "ms_ssim"]) show(measure, measure === coded.fidelity.measure);
    this.showFigures("balle2017", coded.file.length, coded.fidelity);
    this.tagRight();
    for (const rival of Object.keys(RIVALS) as Rival[]) this.showRival(rival);
    this.showLeft();
    await Promise.all((Object.keys(RIVALS) as Rival[]).map((rival) => this.match(coded, rival, signal)));
  }

  private async keepPicture(coded: Coded) {
    coded.picture = await createImageBitmap(this.viewer.right);
    const kept = [...this.coded.values()].filter(({ picture }) => picture);
    while (kept.length > 1 && kept.length * this.width * this.height > KEPT_PIXELS) closeAll(kept.shift()!);
  }

  private async match(coded: Coded, rival: Rival, signal: AbortSignal) {
    if (coded.rivals[rival]) return;
    const { file, fidelity } = coded;
    const match = await this.rivals.call("match", [`image/${rival}`, file.length, fidelity.measure], { signal });
    show(`row-${rival}`, match !== null);
    if (!match) {
      if (this.chosen() === rival) document.querySelector<HTMLInputElement>("input[value=original]")!.click();
      return;
    }
    coded.rivals[rival] = match;
    this.showRival(rival);
    if (this.chosen() === rival) this.showLeft();
  }

  private showRival(rival: Rival) {
    const match = this.shown?.rivals[rival];
    if (match) this.showFigures(rival, match.file.size, match.fidelity);
    else this.fillRow(rival, ["…", "", ""]);
  }

  private chosen(): Rival | "original" {
    return document.querySelector<HTMLInputElement>("input[name=rival]:checked")!.value as Rival;
  }

  /** Draws what is chosen to be on the left of the divider, once it is there. */
  private showLeft() {
    const chosen = this.chosen();
    const match = chosen === "original" ? undefined : this.shown?.rivals[chosen];
    const name = chosen === "original" ? "Original" : RIVALS[chosen];
    this.viewer.compare(true, name);
    const picture = chosen === "original" ? this.original : match?.bitmap;
    if (picture) this.viewer.left.getContext("2d")!.drawImage(picture, 0, 0);
    if (match) tag("left", name, figures(match.file.size, match.fidelity));
    else tag("left", name, chosen === "original" ? formatBytes(this.originalBytes) : "…");
  }

  private tagRight() {
    const { file, fidelity } = this.shown!;
    tag("right", "balle2017", figures(file.length, fidelity));
  }

  private setBusy(isBusy: boolean) {
    byId<HTMLButtonElement>("download").disabled = isBusy;
    byId<HTMLButtonElement>("save").disabled = isBusy;
    // What is seen is still the picture before.
    byId("work").setAttribute("aria-busy", String(isBusy));
  }

  private showFigures(row: string, bytes: number, fidelity: Fidelity) {
    const { short, long } = formatFidelity(fidelity);
    this.fillRow(row, [formatBytes(bytes), formatBpp(bytes, this.width * this.height), short], long);
  }

  private fillRow(row: string, cells: string[], exactly = "") {
    const [, ...tds] = byId<HTMLTableRowElement>(`row-${row}`).cells;
    cells.forEach((text, i) => (tds[i].textContent = text));
    tds[2].title = exactly;
  }
}

function figures(bytes: number, fidelity: Fidelity): string {
  const { short } = formatFidelity(fidelity);
  return `${formatBytes(bytes)} · ${fidelity.measure === "psnr" ? `${short} dB` : `MS-SSIM ${short}`}`;
}

/** Labels a side of the divider. */
function tag(side: "left" | "right", name: string, figures: string) {
  const span = document.createElement("span");
  span.textContent = figures;
  byId(`${side}-tag`).replaceChildren(name, span);
}

function familyOf(model: ModelInfo): string {
  return model.name.replace(/-[^-]*$/, "");
}

function closeAll(coded: Coded) {
  coded.picture?.close();
  coded.picture = undefined;
  for (const match of Object.values(coded.rivals)) match.bitmap.close();
  coded.rivals = {};
}
