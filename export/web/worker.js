// The Web Worker that paints: it fetches the models, opens them with onnxruntime-web on the provider that is there and
// right, and answers the page, see messages.d.ts.
import {
  WebError, LEVELS, checkManifest, fromPixels, planJob, strengthOf, stylizeSteps, toPixels, weightOf,
} from "./runtime.js";

/**
 * @typedef {import("./messages.js").Provider} Provider
 * @typedef {import("./messages.js").Start} Start
 * @typedef {import("./models.js").Manifest} Manifest
 * @typedef {import("./models.js").Graphs} Graphs
 * @typedef {import("./models.js").Image} Image
 * @typedef {import("./models.js").Runtime} Runtime
 * @typedef {{manifest: Manifest, graphs: Graphs, provider: Provider, threads: number}} Engine
 * @typedef {{stopped: boolean}} Job
 */

const HERE = new URL("./", import.meta.url);
const MODULES = { wasm: "ort/ort.wasm.min.mjs", webgpu: "ort/ort.webgpu.min.mjs" };
const MAX_THREADS = 4; // more cores than that are slower ones, or twice the same
const FRAME_MS = 100; // between two frames: each is read back from the GPU and drawn
const LOSS_TOLERANCE = 0.1; // of the known stylization, relative: in bytes a second step is off by up to 0.06
const IMAGE_TOLERANCE = 2; // mean difference in 8-bit levels

/** @type {Promise<Engine> | null} */
let engine = null;
/** @type {Job & {id: number} | null} */
let job = null;
/** @type {Promise<void>} */
let running = Promise.resolve();

/** @param {import("./messages.js").ToPage} message @param {Transferable[]} transferred */
const say = (message, transferred = []) => postMessage(message, { transfer: transferred });

addEventListener("message", ({ data: message }) => {
  if (message.type === "load") load(message);
  if (message.type === "start") start(message);
  if (message.type === "stop" && job && job.id === message.id) job.stopped = true;
});

/** @param {Extract<import("./messages.js").ToWorker, {type: "load"}>} message */
function load(message) {
  engine = open(message.provider, message.maxThreads ?? MAX_THREADS);
  engine.catch((error) => say({ type: "error", ...described(error) }));
}

/** @param {Start} message */
function start(message) {
  if (job) job.stopped = true;
  const mine = { id: message.id, stopped: false };
  job = mine;
  running = running
    .then(() => paint(message, mine))
    .catch((error) => say({ type: "error", id: message.id, ...described(error) }));
}

/**
 * Load the models on the first provider that computes them rightly.
 * @param {"auto" | Provider} asked
 * @param {number} maxThreads
 * @returns {Promise<Engine>}
 */
async function open(asked, maxThreads) {
  const manifest = JSON.parse(new TextDecoder().decode(await fetched("manifest.json")));
  checkManifest(manifest);
  let { provider, reason } = asked === "auto" ? await bestProvider() : { provider: asked, reason: undefined };
  let opened;
  try {
    opened = await openOn(provider, manifest, maxThreads);
  } catch (error) {
    if (provider === "wasm") throw error;
    reason = `WebGPU failed here, so WebAssembly computes: ${described(error).message}`;
    provider = "wasm";
    opened = await openOn(provider, manifest, maxThreads);
  }
  const { config, middle_weight } = manifest;
  const strength = strengthOf(config.style_weight, middle_weight);
  const defaults = { size: config.size, numSteps: config.num_steps, strength };
  say({ type: "ready", ...where(opened), reason, encoder: config.encoder, defaults });
  return opened;
}

/** @returns {Promise<{provider: Provider, reason?: string}>} */
async function bestProvider() {
  const { gpu } = /** @type {any} */ (navigator); // TypeScript knows no WebGPU yet
  const adapter = await gpu?.requestAdapter().catch(() => null);
  const isEmulated = adapter?.info?.isFallbackAdapter ?? adapter?.isFallbackAdapter;
  if (adapter && !isEmulated) return { provider: "webgpu" };
  const lack = isEmulated ? "has no GPU behind its WebGPU" : "offers no WebGPU here";
  return { provider: "wasm", reason: `This browser ${lack}, so WebAssembly computes.` };
}

/**
 * @param {Provider} provider
 * @param {Manifest} manifest
 * @param {number} maxThreads
 * @returns {Promise<Engine>}
 */
async function openOn(provider, manifest, maxThreads) {
  const { targets, step } = manifest.providers[provider];
  const names = [targets, step, manifest.weights];
  const files = await fetchedModels(names, manifest);
  /** @type {Runtime} */
  const ort = await import(new URL(MODULES[provider], HERE).href).catch(() => {
    throw new WebError("model", "onnxruntime-web could not be loaded: reload the page when there is a connection.");
  });
  const threads = provider === "wasm" && crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, maxThreads) : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = new URL("ort/", HERE).href;
  ort.env.logLevel = "error";
  const graphs = await openGraphs(ort, provider, manifest, files);
  await checkKnown(provider, manifest, graphs);
  return { manifest, graphs, provider, threads };
}

/**
 * The two graphs as sessions: under WebGPU what they give stays on the GPU.
 * @param {Runtime} ort
 * @param {Provider} provider
 * @param {Manifest} manifest
 * @param {Uint8Array<ArrayBuffer>[]} files targets, step and weights
 * @returns {Promise<Graphs>}
 */
async function openGraphs(ort, provider, manifest, [targetsFile, stepFile, weights]) {
  /** @type {import("./models.js").SessionOptions} */
  const options = {
    executionProviders: [provider],
    externalData: [{ path: manifest.weights, data: weights }],
    // A pattern or an arena of a first run is held beside what the next one takes; a phone has no room for both.
    enableMemPattern: false,
    enableCpuMemArena: false,
    logSeverityLevel: 3,
  };
  if (provider === "webgpu") options.preferredOutputLocation = "gpu-buffer";
  // Weights in the order that is fastest are a second copy of them, which two runs a stage do not need.
  const unpacked = { extra: { session: { disable_prepacking: "1" } } };
  const targets = await ort.InferenceSession.create(targetsFile, { ...options, ...unpacked });
  const step = await ort.InferenceSession.create(stepFile, options);
  const { state } = manifest;
  const outputs = ["loss", ...Object.values(state).flatMap(({ next }) => (next in state ? [] : [next]))];
  return {
    targets: (image, names) => targets.run({ image }, names),
    step: (inputs) => step.run(inputs, outputs),
    upload: (values, dims) => new ort.Tensor("float32", values, dims),
    read: (value) => value.getData(),
    dispose: (value) => value.dispose(),
  };
}

/**
 * Raise unless the provider computes the stylization whose values Python wrote beside the models.
 * @param {Provider} provider
 * @param {Manifest} manifest
 * @param {Graphs} graphs
 */
async function checkKnown(provider, manifest, graphs) {
  const { size, steps, losses, image } = manifest.known;
  const expected = Uint8Array.from(atob(image[provider]), (letter) => letter.charCodeAt(0));
  const options = { size, numSteps: steps };
  let difference = Infinity;
  for await (const step of stylizeSteps(manifest, graphs, pattern(size, 0), pattern(size, 1), options)) {
    const loss = losses[provider][step.index - 1];
    if (!(Math.abs(step.loss - loss) <= LOSS_TOLERANCE * loss)) throw wrong();
    if (step.index === steps) {
      const { planes } = await step.read();
      difference = planes.reduce((sum, level, i) => sum + Math.abs(level - expected[i]), 0) / expected.length;
    }
  }
  if (!(difference <= IMAGE_TOLERANCE)) throw wrong();
}

const wrong = () => new WebError("model", "This browser computes something else than it should: try another one.");

/**
 * A picture that Python draws too, `pattern` in export/webpage.py: bytes of a linear congruential generator.
 * @param {number} side in px
 * @param {number} seed
 * @returns {Image}
 */
function pattern(side, seed) {
  let state = seed;
  const planes = Float32Array.from({ length: 3 * side * side }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 24) / LEVELS;
  });
  return { width: side, height: side, planes };
}

/**
 * What computes, as the page is told of it and a record has it.
 * @param {Engine} engine
 */
function where({ manifest: { providers, version, runtime }, provider, threads }) {
  return { provider, threads, precision: providers[provider].precision, version, runtime };
}

/**
 * @param {Start} message
 * @param {Job} mine
 */
async function paint(message, mine) {
  const opened = await engine?.catch(() => null);
  if (!opened) return; // the page knows already
  const { manifest, graphs } = opened;
  const { config, middle_weight } = manifest;
  const { id, size = config.size, numSteps = config.num_steps, strength, seed = 0 } = message;
  const [content, style] = [fromPixels(message.content), fromPixels(message.style)];
  const styleWeight = weightOf(strength, middle_weight) / config.style_weight;
  const stages = planJob(manifest, content, { size, numSteps });
  say({ type: "begun", id, stages });
  const { image, ...measured } = await watched(
    stylizeSteps(manifest, graphs, content, style, { size, numSteps, styleWeight }), id, mine,
  );
  const record = {
    ...where(opened), ...measured,
    config: { ...config, size, num_steps: numSteps, style_weight: styleWeight * config.style_weight },
    content: { width: content.width, height: content.height },
    style: { width: style.width, height: style.height },
    stages, size, strength, seed,
    num_steps: measured.milliseconds.length,
    milliseconds_per_step: median(measured.milliseconds),
    heap_mib: heap ? heap.buffer.byteLength / 2 ** 20 : null,
  };
  say({ type: "done", id, image, record, stopped: mine.stopped }, image ? [image.data.buffer] : []);
}

/**
 * Make the steps, telling the page of each, until they end or the job is stopped.
 * @param {ReturnType<typeof stylizeSteps>} steps
 * @param {number} id
 * @param {Job} mine
 */
async function watched(steps, id, mine) {
  const started = performance.now();
  /** @type {number[]} */
  const milliseconds = [];
  let [begun, shown, firstFrame, loss] = [started, -Infinity, NaN, NaN];
  /** @type {import("./messages.js").Picture | null} */
  let image = null;
  try {
    for (let isLast = mine.stopped; !isLast; ) {
      const { value: step } = await steps.next();
      if (!step) break;
      await breath(); // a message from the page comes in only here
      const { index, total } = step;
      loss = step.loss;
      if (!Number.isFinite(loss)) {
        throw new WebError("diverged", "The optimisation left the finite numbers: lower Strength.");
      }
      const now = performance.now();
      milliseconds.push(now - begun);
      begun = now;
      if (index === 1) firstFrame = now - started;
      isLast = mine.stopped || index === total;
      const picture = isLast || now - shown >= FRAME_MS ? toPixels(await step.read()) : undefined;
      if (picture) shown = now;
      if (picture && isLast) image = picture;
      const frame = isLast ? undefined : picture;
      const message = { id, index, total, loss, milliseconds: milliseconds[index - 1], frame };
      say({ type: "step", ...message }, frame && [frame.data.buffer]);
    }
  } finally {
    await steps.return(undefined); // frees what it holds
  }
  const seconds = (performance.now() - started) / 1000;
  return { image, milliseconds, loss, seconds, first_frame_seconds: firstFrame / 1000 };
}

/** @param {number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;

const { port1, port2 } = new MessageChannel();

/** Until the messages that have come are heard. @returns {Promise<void>} */
const breath = () =>
  new Promise((resolve) => {
    port1.onmessage = () => resolve();
    port2.postMessage(null);
  });

/**
 * A file beside the manifest.
 * @param {string} name
 * @param {number} [room] bytes that it takes, so that it is held once
 * @param {(bytes: number) => void} [count] called for each piece
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
async function fetched(name, room = 0, count = () => {}) {
  try {
    const response = await fetch(new URL(`models/${name}`, HERE));
    if (!response.ok || !response.body) throw new Error(response.statusText);
    let [data, length] = [new Uint8Array(room), 0];
    for (let reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return data.subarray(0, length);
      if (length + value.length > data.length) data = grown(data, length + value.length);
      data.set(value, length);
      length += value.length;
      count(value.length);
    }
  } catch {
    throw new WebError("model", `models/${name} could not be fetched: reload the page when there is a connection.`);
  }
}

/**
 * @param {Uint8Array<ArrayBuffer>} data
 * @param {number} length
 */
function grown(data, length) {
  const larger = new Uint8Array(length);
  larger.set(data);
  return larger;
}

/**
 * Files of the manifest, held to their checksums where the browser has any: not on a plain http:// address.
 * @param {string[]} names
 * @param {Manifest} manifest
 */
async function fetchedModels(names, { files }) {
  const total = names.reduce((sum, name) => sum + files[name].bytes, 0);
  let loaded = 0;
  /** @param {number} bytes */
  const count = (bytes) => say({ type: "progress", loaded: (loaded += bytes), total });
  return Promise.all(
    names.map(async (name) => {
      const data = await fetched(name, files[name].bytes, count);
      const digest = crypto.subtle && new Uint8Array(await crypto.subtle.digest("SHA-256", data));
      const found = digest && Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
      if (data.length !== files[name].bytes || (found && found !== files[name].sha256)) {
        throw new WebError("model", `models/${name} is damaged or not of this page: reload it, or build it again.`);
      }
      return data;
    }),
  );
}

/**
 * An error as the page is told of it.
 * @param {any} error
 * @returns {{code: import("./messages.js").Failure["code"], message: string}}
 */
function described(error) {
  if (error instanceof WebError) return { code: error.code, message: error.message };
  const text = String(error?.message ?? error);
  if (error instanceof RangeError || /alloc|out of memory|OOM|memory access|Aborted|^\d+$/i.test(text)) {
    return { code: "memory", message: "This size does not fit into the browser's memory: choose a smaller one." };
  }
  return { code: "internal", message: `The browser could not compute this: ${text.split("\n")[0].slice(0, 200)}` };
}

/** @type {WebAssembly.Memory | null} */
let heap = null;
// onnxruntime-web keeps its memory to itself, and a record says how much it took: the largest that was made.
WebAssembly.Memory = class extends WebAssembly.Memory {
  /** @param {WebAssembly.MemoryDescriptor} descriptor */
  constructor(descriptor) {
    super(descriptor);
    heap = this;
  }
};
