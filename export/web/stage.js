// The place where photo, frames and result are seen, and what is said below it.

import { element } from "./dom.js";
import { show } from "./picture.js";

/** @typedef {import("./messages.js").Picture} Picture */

export class Stage {
  #stage = element("#stage", HTMLElement);
  #live = element("#live", HTMLCanvasElement);
  #manner = element("#manner", HTMLImageElement);
  #result = element("#result", HTMLElement);
  #bar = element("#bar", HTMLProgressElement);
  #words = element("#words", HTMLElement);
  #announcement = element("#announcement", HTMLElement);
  #trouble = element("#trouble", HTMLElement);
  /** @type {string[]} */
  #urls = [];

  /**
   * The photo as it is, with the style in its corner.
   * @param {Picture & {label: string}} photo
   * @param {{url: string, label: string}} style
   */
  showPhoto(photo, style) {
    this.#clearResult();
    this.#paint(photo, `The photo: ${photo.label}`);
    Object.assign(this.#manner, { src: style.url, hidden: false });
  }

  /** @param {Picture} frame */
  showFrame(frame) {
    this.#clearResult();
    this.#manner.hidden = true;
    this.#paint(frame, "The picture so far");
  }

  /**
   * Photo and result in one place.
   * @param {Picture} photo
   * @param {Blob} result
   */
  async showResult(photo, result) {
    const canvas = document.createElement("canvas");
    show(canvas, photo);
    this.#shape(photo);
    const before = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
    const root = document.importNode(element("#viewer", HTMLTemplateElement).content, true);
    const pictures = root.querySelectorAll("img[data-picture]");
    this.#clearResult();
    this.#urls = [before, result].map((blob) => URL.createObjectURL(blob));
    for (const [place, url] of this.#urls.entries()) {
      const picture = /** @type {HTMLImageElement} */ (pictures[place]);
      picture.src = url;
      await picture.decode().catch(() => {}); // no flash of nothing
    }
    this.#result.append(root);
    startViewer(element(".comparison", HTMLElement, this.#result));
    this.#result.hidden = false;
    this.#live.hidden = this.#manner.hidden = true;
  }

  /**
   * @param {string} words
   * @param {number} [share] of the progress bar
   */
  say(words, share = 0) {
    this.#words.textContent = words;
    this.#bar.value = share;
  }

  /** What a screen reader reads aloud: few words, at turns of the work. @param {string} words */
  announce(words) {
    this.#announcement.textContent = words;
  }

  /**
   * What went wrong, in one sentence, and a way on.
   * @param {string} sentence "": all is well again
   * @param {{label: string, act: () => void}} [way]
   */
  complain(sentence, way) {
    const button = element("button", HTMLButtonElement, this.#trouble);
    element("p", HTMLElement, this.#trouble).textContent = sentence;
    this.#trouble.hidden = !sentence;
    button.hidden = !way;
    button.textContent = way?.label ?? "";
    button.onclick = () => {
      this.complain("");
      way?.act();
    };
  }

  /**
   * @param {Picture} picture
   * @param {string} label
   */
  #paint(picture, label) {
    show(this.#live, picture);
    this.#live.setAttribute("aria-label", label);
    this.#shape(picture);
  }

  /** The place is as high as the window lets it be. @param {Picture} picture */
  #shape({ width, height }) {
    this.#stage.style.setProperty("--aspect", String(width / height));
  }

  #clearResult() {
    this.#result.replaceChildren();
    for (const url of this.#urls) URL.revokeObjectURL(url);
    this.#urls = [];
    this.#result.hidden = true;
    this.#live.hidden = false;
  }
}
