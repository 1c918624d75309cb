// The Web Worker that paints, from the page's side: made when it is needed, and made anew after what it cannot survive.

/**
 * @typedef {import("./messages.js").ToPage} ToPage
 * @typedef {import("./messages.js").ToWorker} ToWorker
 * @typedef {import("./messages.js").Start} Start
 */

// A worker cannot tell an iPad from a Mac, nor does it know that Safari there has too little memory for threads.
const IS_IOS =
  /iPhone|iPad|iPod/.test(navigator.userAgent) || (navigator.platform === "MacIntel" && navigator.maxTouchPoints > 1);
// After these a worker is of no use: WebAssembly's memory never shrinks, and half a model may be loaded.
const FATAL = ["memory", "model", "unsupported", "internal"];

export class Engine {
  /** @type {Worker | null} */
  #worker = null;
  #listener;
  #id = 0;

  /** @param {(message: ToPage) => void} listener hears what the worker says of the job that was started last */
  constructor(listener) {
    this.#listener = listener;
  }

  /** @param {"auto" | "wasm" | "webgpu"} provider */
  load(provider) {
    this.close();
    const worker = new Worker("worker.js", { type: "module" });
    worker.onmessage = ({ data }) => this.#hear(worker, data);
    worker.onerror = (event) => {
      event.preventDefault();
      const message = "The part of this page that paints could not be loaded, or has ended: try again.";
      this.#hear(worker, { type: "error", code: "internal", message });
    };
    this.#worker = worker;
    this.#say({ type: "load", provider, ...(IS_IOS ? { maxThreads: 1 } : {}) });
  }

  /** @param {Omit<Start, "type" | "id">} job its pixels are gone afterwards */
  start(job) {
    this.#id += 1;
    this.#say({ type: "start", id: this.#id, ...job }, [job.content.data.buffer, job.style.data.buffer]);
  }

  stop() {
    this.#say({ type: "stop", id: this.#id });
  }

  close() {
    this.#worker?.terminate();
    this.#worker = null;
  }

  /** Whether there is a worker, loaded or loading. */
  get isOpen() {
    return this.#worker !== null;
  }

  /**
   * @param {Worker} worker
   * @param {ToPage} message
   */
  #hear(worker, message) {
    if (worker !== this.#worker) return;
    if ("id" in message && message.id !== undefined && message.id !== this.#id) return; // of a job that was replaced
    if (message.type === "error" && FATAL.includes(message.code)) this.close();
    this.#listener(message);
  }

  /**
   * @param {ToWorker} message
   * @param {Transferable[]} transferred
   */
  #say(message, transferred = []) {
    this.#worker?.postMessage(message, transferred);
  }
}
