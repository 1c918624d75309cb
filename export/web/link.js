// The page's settings in its address, and back. A visitor's own pictures are not in it: they stay on the device.

/**
 * @typedef {object} Settings
 * @property {string} photo the name of a bundled one, or OWN
 * @property {string} style likewise
 * @property {string} detail a key of STOPS
 * @property {number} strength 0 to 100
 * @property {number} size longer side of the result in px
 */

export const OWN = "own";
// Detail: how much of the bundle's own number of steps.
export const STOPS = { sketch: 0.5, preview: 1, fine: 2, full: 4 };
export const SIZES_PX = [128, 192, 256, 384, 512];

/** @type {Settings} those of opening.jpg, but for Detail and size, which are to be quick */
export const DEFAULTS = { photo: "astronaut", style: "woodblock_waves", detail: "preview", strength: 75, size: 256 };

/**
 * The settings that a link says; what it does not say, or says wrongly, is left out.
 * @param {string} hash
 * @param {{photos: string[], styles: string[]}} names of the bundled ones
 * @returns {Partial<Settings>}
 */
export function readLink(hash, names) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  /** @type {[keyof Settings, unknown[]][]} */
  const choices = [
    ["photo", [...names.photos, OWN]],
    ["style", [...names.styles, OWN]],
    ["detail", Object.keys(STOPS)],
  ];
  const found = Object.fromEntries(choices.map(([key, known]) => [key, known.find((each) => each === said.get(key))]));
  const strength = Number(said.get("strength") || NaN);
  found.strength = strength >= 0 && strength <= 100 ? Math.round(strength) : undefined;
  found.size = SIZES_PX.find((size) => String(size) === said.get("size"));
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

/** @param {Settings} settings */
export function writeLink(settings) {
  const { photo, style, detail, strength, size } = settings;
  return `#${new URLSearchParams({ photo, style, detail, strength: String(strength), size: String(size) })}`;
}
