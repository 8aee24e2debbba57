// Two pictures of one size on each other, with a divider between them, to be moved and magnified.

const MAX_SCALE = 32;
const KEY_STEP = 40;
const ZOOM_STEP = 1.25;

interface Point {
  x: number;
  y: number;
}

export class Viewer {
  private width = 1;
  private height = 1;
  /** CSS pixels to a pixel of the picture, and where its upper left corner is. */
  private scale = 1;
  private offset: Point = { x: 0, y: 0 };
  private isFitted = true;
  /** Where the divider is, as a share of the stage's width. */
  private share = 0.5;
  private pointers = new Map<number, Point>();
  private drag: "divider" | "picture" = "picture";

  private sheet: HTMLElement;
  readonly left: HTMLCanvasElement;
  readonly right: HTMLCanvasElement;
  private divider: HTMLElement;
  private zoomLabel: HTMLElement;

  constructor(private stage: HTMLElement) {
    const find = <T extends HTMLElement>(css: string) => stage.querySelector<T>(css)!;
    this.sheet = find(".sheet");
    this.left = find("#left");
    this.right = find("#right");
    this.divider = find("#divider");
    this.zoomLabel = find("#zoom-label");
    new ResizeObserver(() => this.layout()).observe(stage);
    stage.addEventListener("pointerdown", (event) => this.press(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const type of ["pointerup", "pointercancel"] as const) {
      stage.addEventListener(type, (event) => this.pointers.delete(event.pointerId));
    }
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("keydown", (event) => this.key(event));
    this.divider.addEventListener("keydown", (event) => this.dividerKey(event));
    find("#zoom-in").addEventListener("click", () => this.zoom(2));
    find("#zoom-out").addEventListener("click", () => this.zoom(0.5));
    find("#zoom-fit").addEventListener("click", () => this.fit());
    find("#zoom-full").addEventListener("click", () => this.magnify(1));
  }

  /** Prepares for pictures of a size. */
  reset(width: number, height: number) {
    [this.width, this.height] = [width, height];
    for (const canvas of [this.left, this.right]) {
      canvas.width = width;
      canvas.height = height;
    }
    this.share = 0.5;
    this.fit();
  }

  /** Whether there is something left of the divider; without it there is none. */
  compare(on: boolean, name = "") {
    this.stage.classList.toggle("comparing", on);
    this.divider.setAttribute("aria-label", `Divider between ${name} on the left and balle2017 on the right`);
    this.layout();
  }

  fit() {
    this.isFitted = true;
    this.layout();
  }

  private layout() {
    const { clientWidth, clientHeight } = this.stage;
    if (this.isFitted) {
      // A small picture is shown as it is.
      const whole = Math.min(clientWidth / this.width, clientHeight / this.height);
      this.scale = Math.min(whole, Math.max(1, 1 / devicePixelRatio));
    }
    const place = (room: number, size: number, offset: number) =>
      size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, offset));
    this.offset.x = place(clientWidth, this.width * this.scale, this.offset.x);
    this.offset.y = place(clientHeight, this.height * this.scale, this.offset.y);
    this.sheet.style.width = `${this.width}px`;
    this.sheet.style.height = `${this.height}px`;
    this.sheet.style.transform = `translate(${this.offset.x}px, ${this.offset.y}px) scale(${this.scale})`;
    this.sheet.classList.toggle("magnified", this.scale * devicePixelRatio >= 2);
    const at = this.share * clientWidth;
    const cut = Math.min(this.width, Math.max(0, (at - this.offset.x) / this.scale));
    this.left.style.clipPath = `inset(0 ${this.width - cut}px 0 0)`;
    this.divider.style.left = `${at}px`;
    this.divider.setAttribute("aria-valuenow", String(Math.round(100 * this.share)));
    const percent = 100 * this.scale * devicePixelRatio;
    this.zoomLabel.textContent = `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
  }

  /** Shows this many screen pixels for each of the picture. */
  private magnify(scale: number) {
    this.zoom(scale / devicePixelRatio / this.scale);
  }

  private zoom(factor: number, around?: Point) {
    const { clientWidth, clientHeight } = this.stage;
    const { x, y } = around ?? { x: clientWidth / 2, y: clientHeight / 2 };
    const whole = Math.min(clientWidth / this.width, clientHeight / this.height, 1 / devicePixelRatio);
    const next = Math.min(MAX_SCALE, Math.max(whole, this.scale * factor));
    this.offset.x = x - ((x - this.offset.x) * next) / this.scale;
    this.offset.y = y - ((y - this.offset.y) * next) / this.scale;
    this.scale = next;
    this.isFitted = false;
    this.layout();
  }

  private overflows(): boolean {
    const { clientWidth, clientHeight } = this.stage;
    return this.width * this.scale > clientWidth + 1 || this.height * this.scale > clientHeight + 1;
  }

  private position(event: MouseEvent): Point {
    const box = this.stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  private press(event: PointerEvent) {
    const target = event.target as Element;
    if (event.button !== 0 || target.closest("button")) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.position(event));
    const isComparing = this.stage.classList.contains("comparing");
    // While the whole picture is seen there is nothing else to be moved.
    const onDivider = this.divider.contains(target) || !this.overflows();
    this.drag = isComparing && onDivider && this.pointers.size === 1 ? "divider" : "picture";
    if (this.drag === "divider") this.moveDivider(this.position(event).x);
  }

  private move(event: PointerEvent) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.position(event);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, now);
    if (other) {
      const distance = (point: Point) => Math.hypot(point.x - other.x, point.y - other.y);
      const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
      this.zoom(distance(now) / Math.max(1, distance(before)), middle);
    } else if (this.drag === "divider") {
      this.moveDivider(now.x);
    } else {
      this.pan(now.x - before.x, now.y - before.y);
    }
  }

  private pan(x: number, y: number) {
    this.offset.x += x;
    this.offset.y += y;
    this.layout();
  }

  private moveDivider(x: number) {
    this.share = Math.min(1, Math.max(0, x / this.stage.clientWidth));
    this.layout();
  }

  private wheel(event: WheelEvent) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    this.zoom(2 ** (-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), this.position(event));
  }

  private key(event: KeyboardEvent) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: Record<string, () => void> = {
      "+": () => this.zoom(ZOOM_STEP),
      "=": () => this.zoom(ZOOM_STEP),
      "-": () => this.zoom(1 / ZOOM_STEP),
      "0": () => this.fit(),
      "1": () => this.magnify(1),
      ArrowLeft: () => this.pan(KEY_STEP, 0),
      ArrowRight: () => this.pan(-KEY_STEP, 0),
      ArrowUp: () => this.pan(0, KEY_STEP),
      ArrowDown: () => this.pan(0, -KEY_STEP),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  private dividerKey(event: KeyboardEvent) {
    const step = event.shiftKey ? 0.1 : 0.02;
    const shares: Record<string, number> = {
      ArrowLeft: this.share - step,
      ArrowRight: this.share + step,
      Home: 0,
      End: 1,
    };
    if (!(event.key in shares)) return;
    event.preventDefault();
    event.stopPropagation();
    this.moveDivider(shares[event.key] * this.stage.clientWidth);
  }
}
