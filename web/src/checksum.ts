// The two checksums of docs/format.md.

const CRC32 = table(32, (value) => (value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1));
const CRC8 = table(8, (value) => (value & 0x80 ? (value << 1) ^ 0x1d : value << 1) & 0xff);

function table(bits: number, step: (value: number) => number): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, value) => {
    for (let i = 0; i < 8; i++) value = step(value);
    return bits === 32 ? value >>> 0 : value;
  });
}

/** zlib's CRC-32, of the bytes before and these. */
export function crc32(data: Uint8Array, before = 0): number {
  let crc = ~before;
  for (const byte of data) crc = CRC32[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** CRC-8/GSM-A. */
export function crc8(data: Uint8Array): number {
  let crc = 0;
  for (const byte of data) crc = CRC8[crc ^ byte];
  return crc;
}
