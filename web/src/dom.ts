// Small things that all parts of the page need.

export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

export function show(id: string, isVisible: boolean) {
  byId(id).hidden = !isVisible;
}

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`;
}

export function formatBpp(bytes: number, pixels: number): string {
  const bpp = (8 * bytes) / pixels;
  return bpp.toFixed(bpp < 10 ? 3 : 2);
}

export function saveAs(blob: Blob, name: string) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has to have begun with it.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
