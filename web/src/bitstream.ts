// The .tfci file, version 1: between slices and bytes. docs/format.md specifies it; the sentences are
// those of balle2017's own reader, so that page and command say the same of the same file.

import { crc32, crc8 } from "./checksum";

export const STRIDE = 16;
const MAX_SIZE = 2 ** 24 - 1;
const MAGIC = [0x89, 0x42, 0x31, 0x37];
const VERSION = 1;
const FIXED = 19;
const CHANNELS = 0x07;
const HAS_METADATA = 0x08;
const MAX_VARINT_BYTES = 4;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/;

/** What a user is told: one sentence. */
export class Sentence extends Error {}

export interface Bitstream {
  model: string;
  /** CRC-32 of the model's decoder. */
  fingerprint: number;
  width: number;
  height: number;
  channels: number;
  /** Latent positions in a slice. */
  sliceLength: number;
  slices: Uint8Array[];
  /** Metadata sections, by their tags. */
  metadata: Map<string, Uint8Array<ArrayBuffer>>;
}

/** Height and width of the latents of a picture. */
export function latentSize(height: number, width: number): [number, number] {
  return [Math.ceil(height / STRIDE), Math.ceil(width / STRIDE)];
}

export function numSlices(b: { height: number; width: number; sliceLength: number }): number {
  const [h, w] = latentSize(b.height, b.width);
  return Math.ceil((h * w) / b.sliceLength);
}

export function pack(b: Omit<Bitstream, "metadata">): Uint8Array<ArrayBuffer> {
  checkHeader(b);
  const table: number[] = [];
  for (const slice of b.slices) table.push(...varint(slice.length), crc8(slice));
  const start = FIXED + b.model.length + table.length;
  const out = new Uint8Array(b.slices.reduce((sum, slice) => sum + slice.length, start + 4));
  const view = new DataView(out.buffer);
  out.set(MAGIC);
  out[4] = VERSION;
  out[5] = b.channels;
  view.setUint32(6, b.fingerprint, true);
  [b.width, b.height].forEach((side, i) => {
    view.setUint16(10 + 3 * i, side & 0xffff, true);
    out[12 + 3 * i] = side >>> 16;
  });
  view.setUint16(16, b.sliceLength, true);
  out[18] = b.model.length;
  out.set(new TextEncoder().encode(b.model), FIXED);
  out.set(table, FIXED + b.model.length);
  let position = start;
  for (const slice of b.slices) {
    out.set(slice, position);
    position += slice.length;
  }
  view.setUint32(position, crc32(out.subarray(0, position)), true);
  return out;
}

/** Whether the bytes begin as those of a .tfci file do. */
export function isBitstream(data: Uint8Array): boolean {
  return MAGIC.every((byte, i) => data[i] === byte);
}

/** Reads a whole file, and believes none of it before its checksums agree. */
export function unpack(data: Uint8Array): Bitstream {
  const { bitstream, end } = readHeader(data);
  const body = data.length - 4;
  const intact = data.length >= end + 4 && crc32(data.subarray(0, body)) === uint32(data, body);
  const count = numSlices(bitstream);
  let lost: number[];
  try {
    const { table, start } = readTable(data, end, count);
    const read = readSlices(data, table, start, body);
    lost = read.lost;
    bitstream.slices = read.slices;
    if (lost.length === 0) {
      let position = read.position;
      if (data[5] & HAS_METADATA) position = readMetadata(data, position, bitstream.metadata);
      if (position + 4 > data.length) throw new Sentence("The file is cut off.");
      if (position + 4 < data.length) {
        throw new Sentence(`The file goes on for ${data.length - position - 4} bytes after its end.`);
      }
    }
  } catch (error) {
    if (intact || !(error instanceof Sentence)) throw error;
    // Which end is missing or too long cannot be told from a damaged table.
    throw new Sentence(`The file is damaged: ${error.message[0].toLowerCase()}${error.message.slice(1)}`);
  }
  if (lost.length) throw new Sentence(`The file is damaged in ${listSlices(lost)} of ${count}.`);
  if (!intact) throw new Sentence("The file is damaged outside of its slices.");
  return bitstream;
}

function checkHeader(b: Omit<Bitstream, "metadata">) {
  if (b.channels !== 1 && b.channels !== 3) {
    throw new Sentence(`${b.channels} colour channels are not supported, only 1 and 3.`);
  }
  if (Math.min(b.width, b.height) < 1 || Math.max(b.width, b.height) > MAX_SIZE) {
    throw new Sentence(
      `A picture of ${b.width}×${b.height} cannot be stored: sides go from 1 to ${MAX_SIZE}.`,
    );
  }
  if (b.sliceLength < 1 || b.sliceLength > 65535) {
    throw new Sentence(`A slice length of ${b.sliceLength} is not possible.`);
  }
  if (!NAME.test(b.model)) {
    throw new Sentence(
      "The model's name must be 1 to 255 ASCII letters, digits, dots, dashes and underscores.",
    );
  }
}

function readHeader(data: Uint8Array): { bitstream: Bitstream; end: number } {
  if (data.length === 0) throw new Sentence("The file is empty.");
  if (!MAGIC.slice(0, data.length).every((byte, i) => data[i] === byte)) {
    throw new Sentence("This is not a .tfci file of balle2017.");
  }
  if (data.length > 4 && data[4] !== VERSION) {
    throw new Sentence(
      `The file has format version ${data[4]}, which this version of balle2017 cannot read.`,
    );
  }
  if (data.length < FIXED || data.length < FIXED + data[18]) {
    throw new Sentence("The file is cut off within its header.");
  }
  const flags = data[5];
  if (flags & ~(CHANNELS | HAS_METADATA)) {
    throw new Sentence("The file uses features that this version of balle2017 does not know.");
  }
  const uint24 = (at: number) => data[at] | (data[at + 1] << 8) | (data[at + 2] << 16);
  const bitstream: Bitstream = {
    model: String.fromCharCode(...data.subarray(FIXED, FIXED + data[18])),
    fingerprint: uint32(data, 6),
    width: uint24(10),
    height: uint24(13),
    channels: flags & CHANNELS,
    sliceLength: data[16] | (data[17] << 8),
    slices: [],
    metadata: new Map(),
  };
  checkHeader(bitstream);
  return { bitstream, end: FIXED + data[18] };
}

function readTable(data: Uint8Array, position: number, count: number) {
  // Each entry takes two bytes at least: a count that lies allocates nothing.
  if (2 * count > data.length - position) {
    throw new Sentence("The file is cut off within its slice table, or its size is wrong.");
  }
  const table: [number, number][] = [];
  for (let i = 0; i < count; i++) {
    let length: number;
    [length, position] = readVarint(data, position);
    if (position >= data.length) throw new Sentence("The file is cut off within its slice table.");
    table.push([length, data[position]]);
    position++;
  }
  return { table, start: position };
}

function readSlices(data: Uint8Array, table: [number, number][], position: number, limit: number) {
  const slices: Uint8Array[] = [];
  const lost: number[] = [];
  table.forEach(([length, crc], index) => {
    const end = position + length;
    if (end > limit) throw new Sentence(`The file is cut off within slice ${index + 1} of ${table.length}.`);
    const content = data.slice(position, end);
    if (crc8(content) !== crc) lost.push(index);
    slices.push(content);
    position = end;
  });
  return { slices, lost, position };
}

function readMetadata(data: Uint8Array, position: number, sections: Bitstream["metadata"]): number {
  const end = data.length - 4;
  if (position + 4 > end) throw new Sentence("The file is cut off before its metadata.");
  const stop = position + 4 + uint32(data, position);
  position += 4;
  if (stop > end) throw new Sentence("The file is cut off within its metadata.");
  if (position === stop) throw new Sentence("The metadata is announced, but empty.");
  while (position < stop) {
    const length = position + 8 <= stop ? uint32(data, position + 4) : Infinity;
    if (position + 8 + length > stop) throw new Sentence("The metadata's lengths contradict each other.");
    const bytes = data.subarray(position, position + 4);
    const tag = String.fromCharCode(...bytes);
    if (bytes.some((byte) => byte > 127) || sections.has(tag)) {
      throw new Sentence("The metadata's tags are not valid.");
    }
    sections.set(tag, data.slice(position + 8, position + 8 + length));
    position += 8 + length;
  }
  return position;
}

function varint(value: number): number[] {
  const out: number[] = [];
  for (; value >= 0x80; value >>>= 7) out.push(0x80 | (value & 0x7f));
  out.push(value);
  return out;
}

function readVarint(data: Uint8Array, position: number): [number, number] {
  let value = 0;
  for (let index = 0; index < MAX_VARINT_BYTES; index++) {
    if (position + index >= data.length) {
      throw new Sentence("The file is cut off within its slice table.");
    }
    const byte = data[position + index];
    value |= (byte & 0x7f) << (7 * index);
    if (byte < 0x80) {
      if (byte === 0 && index > 0) break;
      return [value, position + index + 1];
    }
  }
  throw new Sentence("A length in the slice table is not valid.");
}

function uint32(data: Uint8Array, position: number): number {
  return new DataView(data.buffer, data.byteOffset).getUint32(position, true);
}

/** For people, so counted from 1: `slices 3, 7 and 8`. */
function listSlices(indices: number[]): string {
  const shown = indices.slice(0, 5).map((i) => String(i + 1));
  if (indices.length > 5) shown.push(`${indices.length - 5} more`);
  if (shown.length === 1) return `slice ${shown[0]}`;
  return `slices ${shown.slice(0, -1).join(", ")} and ${shown[shown.length - 1]}`;
}
