// What travels inside a result, in the form of stylecore/job.py: `stylecore show` prints it, the page takes it back.

/**
 * @typedef {import("./controls.js").Chosen} Chosen
 * @typedef {import("./messages.js").RunRecord} RunRecord
 */

const CHECKSUM_DIGITS = 12; // as in stylecore/files.py

/**
 * @param {RunRecord} record
 * @param {Chosen[]} pictures photo and style
 * @param {string} link the page's settings as they were
 * @param {number | null} numMade steps, of a run that was stopped
 */
export async function settingsInside(record, pictures, link, numMade) {
  const inputs = await Promise.all(pictures.map(async (each) => ({ name: each.name, checksum: await checksum(each) })));
  const { config, milliseconds: _, ...rest } = record;
  return {
    version: record.version,
    config,
    inputs,
    record: { ...rest, made_in: "browser", link },
    ...(numMade === null ? {} : { num_steps_made: numMade }),
  };
}

/**
 * Of the file's 8-bit RGB pixels; "" where it was shrunk, or where the page's address is not secure and browsers do not
 * compute it.
 * @param {Chosen} picture
 */
async function checksum({ data, isWhole }) {
  if (!isWhole || !globalThis.crypto?.subtle) return "";
  const rgb = data.filter((_, place) => place % 4 !== 3);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", rgb));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0"))
    .join("")
    .slice(0, CHECKSUM_DIGITS);
}
