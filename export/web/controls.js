// What is chosen: photo, style, strength, detail and size.

import { element, make } from "./dom.js";
import { DEFAULTS, OWN, SIZES_PX, STOPS } from "./link.js";
import { PictureError, readPicture } from "./picture.js";
import { duration } from "./words.js";

/**
 * @typedef {import("./link.js").Settings} Settings
 * @typedef {import("./messages.js").Sample} Sample
 * @typedef {import("./messages.js").Samples} Samples
 * @typedef {"photo" | "style"} Kind
 * @typedef {import("./messages.js").Picture & {name: string, label: string, url: string, isWhole: boolean}} Chosen
 *     name: of a bundled file; "": a visitor's own, whose name is nobody's business
 */

/** @type {Kind[]} */
const KINDS = ["photo", "style"];
const TITLES = { sketch: "Sketch", preview: "Preview", fine: "Fine", full: "Full" };

export class Controls {
  /** @type {Record<Kind, Map<string, Promise<Chosen>>>} */
  #pictures = { photo: new Map(), style: new Map() };
  #samples;
  #changed;
  #form = element("#controls", HTMLFormElement);
  #strength = element("#strength", HTMLInputElement);

  /**
   * @param {Samples} samples
   * @param {Partial<Settings>} settings to begin with
   * @param {(kind: Kind | null) => void} changed by the visitor; the kind of a picture that is another one now
   */
  constructor(samples, settings, changed) {
    this.#samples = { photo: samples.photos, style: samples.styles };
    this.#changed = changed;
    for (const kind of KINDS) {
      this.#tiles(kind).prepend(...this.#samples[kind].map((sample) => tile(kind, sample)));
    }
    element("#details .choices", HTMLElement).replaceChildren(
      ...Object.keys(STOPS).map((stop) => choice("detail", stop, TITLES[/** @type {keyof STOPS} */ (stop)])),
    );
    element("#sizes .choices", HTMLElement).replaceChildren(
      ...SIZES_PX.map((size) => choice("size", String(size), String(size))),
    );
    this.#apply({ photo: samples.photos[0].name, style: samples.styles[0].name });
    this.#apply({ ...DEFAULTS, ...settings });
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("input", ({ target }) => {
      if (!(target instanceof HTMLInputElement) || target.type === "file") return;
      this.#showStrength();
      changed(target.name === "photo" || target.name === "style" ? target.name : null);
    });
  }

  /** @returns {Settings} */
  get settings() {
    const said = new FormData(this.#form);
    return {
      photo: String(said.get("photo")),
      style: String(said.get("style")),
      detail: String(said.get("detail")),
      strength: Number(this.#strength.value),
      size: Number(said.get("size")),
    };
  }

  /** What is not said stays, and so does a picture for one that is not here. @param {Partial<Settings>} said */
  set settings(said) {
    const before = this.settings;
    this.#apply(said);
    this.#changed(KINDS.find((kind) => this.settings[kind] !== before[kind]) ?? null);
  }

  /** @param {Partial<Settings>} said */
  #apply(said) {
    for (const [name, value] of Object.entries(said)) {
      const radio = this.#radio(name, String(value));
      if (name === "strength") this.#strength.value = String(value);
      else if (radio) radio.checked = true;
    }
    this.#showStrength();
  }

  /**
   * The chosen picture's pixels. Throws a PictureError.
   * @param {Kind} kind
   */
  picture(kind) {
    const name = this.settings[kind];
    const pictures = this.#pictures[kind];
    if (!pictures.has(name)) {
      const made = readSample(this.#samples[kind].find((sample) => sample.name === name));
      pictures.set(name, made);
      made.catch(() => pictures.delete(name)); // another try may be luckier
    }
    return /** @type {Promise<Chosen>} */ (pictures.get(name));
  }

  /**
   * A visitor's own picture, which is chosen from now on. Throws a PictureError, and changes nothing, if it cannot be
   * read.
   * @param {Kind} kind
   * @param {File} file
   */
  async addOwn(kind, file) {
    const label = kind === "photo" ? "Your photo" : "Your own picture";
    const pixels = await readPicture(file, file.name ? `'${file.name}'` : "The picture");
    const url = URL.createObjectURL(file);
    const chosen = { ...pixels, name: "", label, url };
    const before = await this.#pictures[kind].get(OWN);
    if (before) URL.revokeObjectURL(before.url);
    this.#pictures[kind].set(OWN, Promise.resolve(chosen));
    this.#radio(kind, OWN)?.closest("label")?.remove();
    element(".new", HTMLElement, this.#tiles(kind)).before(tile(kind, { name: OWN, label, path: url }));
    this.#radio(kind, OWN)?.click();
  }

  /**
   * Says at each stop what it takes.
   * @param {number} numSteps of the stop "preview"
   * @param {number | null} seconds_per_step at the chosen size, where known
   */
  showCosts(numSteps, seconds_per_step) {
    for (const [stop, factor] of Object.entries(STOPS)) {
      const steps = Math.round(numSteps * factor);
      const words = seconds_per_step === null ? `${steps} steps` : duration(steps * seconds_per_step);
      element("small", HTMLElement, this.#radio("detail", stop)?.parentElement ?? undefined).textContent = words;
    }
  }

  #showStrength() {
    element("#strength-value", HTMLOutputElement).value = this.#strength.value;
  }

  /** @param {Kind} kind */
  #tiles(kind) {
    return element(`#${kind}s .tiles`, HTMLElement);
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  #radio(name, value) {
    return /** @type {HTMLInputElement | null} */ (this.#form.querySelector(`[name="${name}"][value="${value}"]`));
  }
}

/**
 * @param {Kind} kind
 * @param {Sample} sample
 */
function tile(kind, { name, label, path }) {
  const radio = make("input", { type: "radio", name: kind, value: name, className: "unseen" });
  return make("label", { className: "tile", title: label }, radio, make("img", { src: path, alt: label }));
}

/**
 * @param {string} name
 * @param {string} value
 * @param {string} title
 */
function choice(name, value, title) {
  const radio = make("input", { type: "radio", name, value, className: "unseen" });
  const made = make("label", { className: "choice" }, radio, title);
  if (name === "detail") made.append(make("small", {}));
  return made;
}

/**
 * @param {Sample | undefined} sample
 * @returns {Promise<Chosen>}
 */
async function readSample(sample) {
  if (!sample) throw new PictureError("Choose a photo and a style first.");
  const response = await fetch(sample.path).catch(() => null);
  if (!response?.ok) throw new PictureError(`'${sample.label}' cannot be reached: check the connection and try again.`);
  const pixels = await readPicture(await response.blob(), `'${sample.label}'`);
  return { ...pixels, name: sample.path.split("/").at(-1) ?? "", label: sample.label, url: sample.path };
}
