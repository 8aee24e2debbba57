// Pictures whose colours are in a profile of their own.

import { crc32 } from "./checksum";

// PNG (ISO/IEC 15948): where its first chunk, the header, ends, and the other chunks that say what colours mean.
const AFTER_HEADER = 33;
const COLOUR_CHUNKS = ["sRGB", "gAMA", "cHRM", "iCCP", "cICP"];

/**
 * Converts what a canvas holds from an ICC profile to the canvas's own colours. The browser does it, which reads
 * profiles in pictures only: so it is given a PNG with this one. A profile that it cannot use changes nothing.
 */
export async function convertToScreen(
  canvas: HTMLCanvasElement, profile: Uint8Array<ArrayBuffer>, signal: AbortSignal,
) {
  const plain = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve));
  if (!plain) return;
  const png = withProfile(new Uint8Array(await plain.arrayBuffer()), await deflate(profile));
  const bitmap = await createImageBitmap(new Blob(png, { type: "image/png" })).catch(() => null);
  signal.throwIfAborted();
  if (!bitmap) return;
  canvas.getContext("2d")!.drawImage(bitmap, 0, 0);
  bitmap.close();
}

/** The parts of a PNG file with a compressed profile in place of what it said of its colours. */
function withProfile(png: Uint8Array<ArrayBuffer>, profile: Uint8Array): Uint8Array<ArrayBuffer>[] {
  const view = new DataView(png.buffer);
  const parts = [png.subarray(0, AFTER_HEADER), profileChunk(profile)];
  for (let position = AFTER_HEADER; position < png.length; ) {
    const end = position + 12 + view.getUint32(position);
    const type = String.fromCharCode(...png.subarray(position + 4, position + 8));
    if (!COLOUR_CHUNKS.includes(type)) parts.push(png.subarray(position, end));
    position = end;
  }
  return parts;
}

function profileChunk(profile: Uint8Array): Uint8Array<ArrayBuffer> {
  // The chunk's type, the profile's name, which ends with a zero, and compression method 0.
  const start = new TextEncoder().encode("iCCPICC\0\0");
  const end = 4 + start.length + profile.length;
  const out = new Uint8Array(end + 4);
  const view = new DataView(out.buffer);
  view.setUint32(0, end - 8);
  out.set(start, 4);
  out.set(profile, 4 + start.length);
  view.setUint32(end, crc32(out.subarray(4, end)));
  return out;
}

async function deflate(data: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const stream = new Blob([data]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
