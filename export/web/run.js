// A run from the page's side: how far it is, how long it will take, and what must not happen meanwhile.

import { duration } from "./words.js";

/**
 * @typedef {import("./controls.js").Chosen} Chosen
 * @typedef {import("./link.js").Settings} Settings
 * @typedef {import("./messages.js").Step} Step
 */

const PACE_KEY = "stylecore-pace"; // in the browser's storage: seconds of a step for each pixel of side squared
const LOCK = "stylecore-run"; // held while a tab paints

export class Run {
  numDone = 0;
  /** @type {[number, number][]} */
  #stages = [];
  #started = performance.now();
  /** @type {WakeLockSentinel | null} */
  #wakeLock = null;
  #endTurn = () => {};

  /**
   * @param {Settings} settings
   * @param {Chosen[]} pictures photo and style
   * @param {number} numSteps
   * @param {string} provider
   */
  constructor(settings, pictures, numSteps, provider) {
    this.settings = settings;
    this.pictures = pictures;
    this.numSteps = numSteps;
    this.provider = provider;
    this.stayAwake();
  }

  /** @param {[number, number][]} stages */
  plan(stages) {
    this.#stages = stages;
  }

  /** @param {Step} step */
  add({ index }) {
    this.numDone = index;
  }

  get name() {
    const names = this.pictures.map(({ name }) => name.replace(/\.\w+$/, "")).filter(Boolean);
    return names.join("_") || "stylized";
  }

  /** Of the work that is done, by the pixels of each step. */
  get share() {
    const areas = this.#stages.flatMap(([side, steps]) => Array(steps).fill(side * side));
    if (areas.length !== this.numSteps) return this.numDone / this.numSteps;
    const sum = (/** @type {number[]} */ some) => some.reduce((all, each) => all + each, 0);
    return sum(areas.slice(0, this.numDone)) / sum(areas);
  }

  words() {
    const seconds = (performance.now() - this.#started) / 1000;
    if (!this.numDone) return `Step 0 of ${this.numSteps} · getting ready`;
    const left = (seconds * (1 - this.share)) / this.share;
    return `Step ${this.numDone} of ${this.numSteps} · ${duration(seconds)} · about ${duration(left)} left`;
  }

  /** Phones put pages to sleep with the screen; called again when the page is seen again. */
  async stayAwake() {
    if (document.hidden || (this.#wakeLock && !this.#wakeLock.released)) return;
    this.#wakeLock = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
  }

  /** @param {() => void} isShared called if another tab paints at this time */
  takeTurn(isShared) {
    navigator.locks?.request(LOCK, { ifAvailable: true }, (lock) => {
      if (lock) return new Promise((resolve) => (this.#endTurn = () => resolve(undefined)));
      isShared();
    });
  }

  end() {
    this.#endTurn();
    this.#wakeLock?.release();
  }

  /** For the next visitor of this browser: what a stop of Detail will take. @param {number} seconds */
  remember(seconds) {
    try {
      const pace = seconds / (this.numSteps * this.settings.size ** 2);
      localStorage.setItem(`${PACE_KEY}-${this.provider}`, String(pace));
    } catch {
      // a browser that stores nothing: the stops go on saying their steps
    }
  }

  /**
   * Seconds of a step for each pixel of side squared, as the last run had it; null: there was none.
   * @param {string} provider
   */
  static pace(provider) {
    try {
      return Number(localStorage.getItem(`${PACE_KEY}-${provider}`)) || null;
    } catch {
      return null;
    }
  }
}
