// Pixels -> PNG with settings inside, as stylecore/encoding.py writes and reads it (PNG specification, third edition).

/** @typedef {import("./messages.js").Picture} Picture */

const SETTINGS_KEY = "stylecore";
const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const UP = 2; // the filter of all rows: the difference from the row above

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

/**
 * A PNG of 8-bit RGB, made here because a canvas may return other pixels than it was given.
 * @param {Picture} picture
 * @param {Record<string, unknown>} settings
 * @returns {Promise<Blob>}
 */
export async function encodePng(picture, settings) {
  const { width, height } = picture;
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 2], 8); // bits, RGB
  const pixels = new Blob([filtered(picture)]).stream().pipeThrough(new CompressionStream("deflate"));
  const parts = [
    new Uint8Array(SIGNATURE),
    chunk("IHDR", header),
    chunk("tEXt", latin1(`${SETTINGS_KEY}\0${ascii(JSON.stringify(settings))}`)),
    chunk("IDAT", new Uint8Array(await new Response(pixels).arrayBuffer())),
    chunk("IEND", new Uint8Array()),
  ];
  return new Blob(parts, { type: "image/png" });
}

/**
 * The settings inside a PNG; null: there are none.
 * @param {Blob} file
 * @returns {Promise<Record<string, any> | null>}
 */
export async function readSettings(file) {
  const head = new Uint8Array(await file.slice(0, SIGNATURE.length).arrayBuffer());
  if (SIGNATURE.some((byte, place) => head[place] !== byte)) return null;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const view = new DataView(bytes.buffer);
  const decoder = new TextDecoder("latin1");
  for (let place = SIGNATURE.length; place + 12 <= bytes.length; place += 12 + view.getUint32(place)) {
    const end = place + 8 + view.getUint32(place);
    const text = decoder.decode(bytes.subarray(place + 4, Math.min(end, place + 24)));
    if (!text.startsWith(`tEXt${SETTINGS_KEY}\0`)) continue;
    try {
      return JSON.parse(decoder.decode(bytes.subarray(place + 8 + SETTINGS_KEY.length + 1, end)));
    } catch {
      return null;
    }
  }
  return null;
}

/** @param {Picture} picture */
function filtered({ width, height, data }) {
  const rows = new Uint8Array(height * (1 + 3 * width));
  let to = 0;
  for (let y = 0; y < height; y++) {
    rows[to++] = UP;
    for (let from = 4 * y * width; from < 4 * (y + 1) * width; from++) {
      if (from % 4 !== 3) rows[to++] = data[from] - (y ? data[from - 4 * width] : 0);
    }
  }
  return rows;
}

/**
 * @param {string} kind
 * @param {Uint8Array<ArrayBuffer>} data
 */
function chunk(kind, data) {
  const made = new Uint8Array(12 + data.length);
  const view = new DataView(made.buffer);
  view.setUint32(0, data.length);
  made.set(latin1(kind), 4);
  made.set(data, 8);
  view.setUint32(8 + data.length, crc32(made.subarray(4, 8 + data.length)));
  return made;
}

/** @param {Uint8Array} bytes */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** @param {string} text */
function latin1(text) {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/** JSON without letters that tEXt does not hold. @param {string} json */
function ascii(json) {
  return json.replace(/[^ -~]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
