// The optimisation without Python: `export/runtime.py` and what it takes of `export/pictures.py`, line for line where
// that is possible. It knows neither the page nor onnxruntime-web, whose sessions it is given; a test holds it to the
// original's numbers.

/**
 * @typedef {import("./models.js").Manifest} Manifest
 * @typedef {import("./models.js").Image} Image
 * @typedef {import("./models.js").Graphs} Graphs
 * @typedef {import("./models.js").Value} Value
 */

export const LEVELS = 255;
export const FORMAT = 1; // of the manifest: MODELS_FORMAT in export/webpage.py
const MIN_SIDE_PX = 16; // relu5_1, the deepest layer, has a position for every 16 px
const MIN_STAGE_PX = 64; // of the shorter side: below, the deepest layer is left with a handful of positions
const SMALLEST = 1e-12; // mean square of a target that a term is divided by: a black picture's is 0
const FULL_STRENGTH = 100;

/** What the visitor can mend, with its code in the messages to the page. */
export class WebError extends Error {
  /**
   * @param {import("./messages.js").Failure["code"]} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * The style weight of a strength from 0 (the photo) to 100 (the painting), as `stylecore.strength.weight_of` has it.
 * @param {number} strength
 * @param {number} middle the weight half way
 */
export function weightOf(strength, middle) {
  const share = strength / FULL_STRENGTH;
  if (!(share >= 0 && share <= 1)) throw new WebError("internal", `Strength must be 0 to 100, not ${strength}.`);
  return share === 1 ? 1 : (middle * share) / (1 + middle - share);
}

/**
 * The strength of a style weight, the other way round.
 * @param {number} weight
 * @param {number} middle
 */
export function strengthOf(weight, middle) {
  const bounded = Math.min(1, weight);
  return (FULL_STRENGTH * bounded * (1 + middle)) / (bounded + middle);
}

/**
 * Python's `round`: halves to the even number.
 * @param {number} value
 */
function round(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/**
 * [longer side in px, steps] of each stage, as the library plans them for a photo of that size.
 *
 * Stages before the last that would be too small to show a style are left out, and the next one has their shares. A
 * stage that gets no step is left out too.
 * @param {{scale: number, share: number}[]} stages
 * @param {{width: number, height: number}} content
 * @param {number} longerSide in px
 * @param {number} numSteps over all stages
 * @returns {[number, number][]}
 */
export function planStages(stages, content, longerSide, numSteps) {
  const shorter = Math.min(content.width, content.height) / Math.max(content.width, content.height);
  const sides = stages.map(({ scale }) => Math.max(1, round(longerSide * scale)));
  const used = sides.flatMap((side, i) =>
    round(side * shorter) >= MIN_STAGE_PX || i === sides.length - 1 ? [i] : [],
  );
  let sum = 0;
  const sums = stages.map(({ share }) => (sum += share));
  /** @type {[number, number][]} */
  const plan = [];
  let begin = 0;
  for (const i of used) {
    const isLast = i === used[used.length - 1];
    const end = isLast ? numSteps : Math.min(round((numSteps * sums[i]) / sum), numSteps - 1);
    if (end > begin) plan.push([sides[i], end - begin]);
    begin = end;
  }
  return plan;
}

/**
 * RGBA bytes -> planes in [0, 1].
 * @param {import("./messages.js").Picture} picture
 * @returns {Image}
 */
export function fromPixels({ width, height, data }) {
  const size = width * height;
  const planes = new Float32Array(3 * size);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) planes[c * size + i] = data[4 * i + c] / LEVELS;
  }
  return { width, height, planes };
}

/**
 * Planes in 8-bit levels, rounded as numpy rounds -> RGBA bytes, opaque.
 * @param {Image} image
 * @returns {import("./messages.js").Picture}
 */
export function toPixels({ width, height, planes }) {
  const size = width * height;
  const data = new Uint8ClampedArray(4 * size).fill(LEVELS); // which rounds halves to even and clamps by itself
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) data[4 * i + c] = planes[c * size + i];
  }
  return { width, height, data };
}

/**
 * `image` resized to that longer side in px, or to a longer one that leaves the shorter side `leastSide`.
 * @param {Image} image
 * @param {number} longerSide
 * @param {number} leastSide
 */
export function fit(image, longerSide, leastSide = 1) {
  const { width, height } = image;
  const factor = Math.max(longerSide / Math.max(height, width), leastSide / Math.min(height, width));
  return resize(image, round(height * factor), round(width * factor));
}

/**
 * Lanczos resampling as Pillow does it: rows first, each pass stored as float32.
 * @param {Image} image
 * @param {number} height
 * @param {number} width
 * @returns {Image}
 */
export function resize(image, height, width) {
  if (image.height === height && image.width === width) return image;
  const [rows, columns] = [lanczos(image.width, width), lanczos(image.height, height)];
  const narrow = new Float32Array(3 * image.height * width);
  for (let y = 0; y < 3 * image.height; y++) {
    rows.forEach(({ begin, weights }, x) => {
      let sum = 0;
      const from = y * image.width + begin;
      for (let i = 0; i < weights.length; i++) sum += image.planes[from + i] * weights[i];
      narrow[y * width + x] = sum;
    });
  }
  const planes = new Float32Array(3 * height * width);
  for (let c = 0; c < 3; c++) {
    columns.forEach(({ begin, weights }, y) => {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        const from = (c * image.height + begin) * width + x;
        for (let i = 0; i < weights.length; i++) sum += narrow[from + i * width] * weights[i];
        planes[(c * height + y) * width + x] = Math.min(1, Math.max(0, Math.fround(sum)));
      }
    });
  }
  return { width, height, planes };
}

/**
 * The window of input pixels that each output pixel is made of: `precompute_coeffs` of Pillow's Resample.c.
 * @param {number} sizeIn
 * @param {number} sizeOut
 */
function lanczos(sizeIn, sizeOut) {
  const scale = sizeIn / sizeOut;
  const filterScale = Math.max(scale, 1);
  const support = 3 * filterScale;
  return Array.from({ length: sizeOut }, (_, place) => {
    const center = (place + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(sizeIn, Math.trunc(center + support + 0.5));
    const weights = new Float64Array(end - begin);
    let total = 0;
    for (let i = 0; i < weights.length; i++) {
      weights[i] = lanczosAt((i + begin - center + 0.5) * (1 / filterScale));
      total += weights[i];
    }
    return { begin, weights: weights.map((weight) => weight / total) };
  });
}

/** @param {number} x */
const lanczosAt = (x) => (-3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0);

/** @param {number} x */
const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));

/**
 * `image` with the mean and covariance of `reference`'s colours.
 * @param {Image} image
 * @param {Image} reference
 * @returns {Image}
 */
export function matchColors(image, reference) {
  const [found, goal] = [colorStatistics(image), colorStatistics(reference)];
  const [root, inverseRoot] = [power(found.covariance, 0.5), power(found.covariance, -0.5)];
  const middle = power(product(product(root, goal.covariance), root), 0.5);
  const transport = product(product(inverseRoot, middle), inverseRoot);
  const size = image.width * image.height;
  const planes = new Float32Array(3 * size);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) {
      let value = goal.mean[c];
      for (let d = 0; d < 3; d++) value += transport[c][d] * (image.planes[d * size + i] - found.mean[d]);
      planes[c * size + i] = Math.min(1, Math.max(0, value));
    }
  }
  return { width: image.width, height: image.height, planes };
}

/** @param {Image} image */
function colorStatistics({ width, height, planes }) {
  const size = width * height;
  const mean = [0, 0, 0];
  const covariance = [0, 1, 2].map(() => [0, 0, 0]);
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < size; i++) mean[c] += planes[c * size + i] / size;
  }
  for (let c = 0; c < 3; c++) {
    for (let d = 0; d < 3; d++) {
      let sum = 0;
      for (let i = 0; i < size; i++) sum += planes[c * size + i] * planes[d * size + i];
      // The ridge keeps a grey image invertible.
      covariance[c][d] = sum / size - mean[c] * mean[d] + (c === d ? 1e-6 : 0);
    }
  }
  return { mean, covariance };
}

/**
 * @param {number[][]} a
 * @param {number[][]} b
 */
const product = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, value, k) => sum + value * b[k][j], 0)));

/**
 * A symmetric 3x3 matrix to a power, by its eigenvalues.
 * @param {number[][]} matrix
 * @param {number} exponent
 */
function power(matrix, exponent) {
  const { values, vectors } = eigen(matrix);
  const powers = values.map((value) => Math.max(value, 1e-12) ** exponent);
  return matrix.map((row, i) =>
    row.map((_, j) => powers.reduce((sum, value, k) => sum + vectors[i][k] * value * vectors[j][k], 0)),
  );
}

/**
 * Jacobi's rotations (1846): a handful of sweeps make a 3x3 matrix diagonal to the last bit.
 * @param {number[][]} matrix symmetric
 */
function eigen(matrix) {
  const a = matrix.map((row) => [...row]);
  const vectors = matrix.map((row, i) => row.map((_, j) => (i === j ? 1 : 0)));
  for (let sweep = 0; sweep < 16; sweep++) {
    for (const [p, q] of [[0, 1], [0, 2], [1, 2]]) {
      if (a[p][q] === 0) continue;
      const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
      const tangent = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
      const cosine = 1 / Math.hypot(tangent, 1);
      const sine = tangent * cosine;
      for (const rows of [a, vectors]) {
        for (const row of rows) [row[p], row[q]] = [cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]];
      }
      for (let k = 0; k < 3; k++) {
        [a[p][k], a[q][k]] = [cosine * a[p][k] - sine * a[q][k], sine * a[p][k] + cosine * a[q][k]];
      }
    }
  }
  return { values: a.map((row, i) => row[i]), vectors };
}

/**
 * Raise for a picture whose shorter side, at the result's size, cannot hold the deepest layer.
 * @param {Record<string, Image>} pictures by what they are to the visitor
 * @param {number} longerSide
 */
export function checkSides(pictures, longerSide) {
  for (const [name, { width, height }] of Object.entries(pictures)) {
    const aspect = Math.max(width, height) / Math.min(width, height);
    if (round(longerSide / aspect) < MIN_SIDE_PX) {
      throw new WebError("picture", `The ${name} of ${width}×${height} px is too thin at this size: crop it.`);
    }
  }
}

/**
 * Raise for a manifest that this runtime does not run.
 * @param {any} manifest as it came from JSON
 * @returns {asserts manifest is Manifest}
 */
export function checkManifest(manifest) {
  if (manifest?.format !== FORMAT) {
    throw new WebError("model", "The models are of another version than this page: reload it, or build it again.");
  }
  const { config, state, files, middle_weight, known } = manifest;
  const isWhole = config && state?.image?.start === "image" && files && middle_weight > 0 && known;
  // Other recipes are nowhere built into a page; noise would need numpy's generator, "pca" the eigenvectors of a Gram.
  if (!isWhole || config.loss !== "gram" || !["style_statistics", "content"].includes(config.init)) {
    throw new WebError("model", "The models' manifest is damaged or for another program: build the page again.");
  }
}

/**
 * The stages of a job.
 * @param {Manifest} manifest
 * @param {Image} content
 * @param {{size?: number, numSteps?: number}} options
 */
export function planJob({ config }, content, { size, numSteps }) {
  return planStages(config.stages, content, size ?? config.size, numSteps ?? config.num_steps);
}

/**
 * Stylize step by step, coarse to fine: yields each step's loss, from before the step, and `read`, which gives the
 * image after it in 8-bit levels and may be called until the next step is asked for.
 * @param {Manifest} manifest
 * @param {Graphs} graphs
 * @param {Image} content
 * @param {Image} style
 * @param {{size?: number, numSteps?: number, styleWeight?: number}} options as `Bundle.stylize_steps` has them
 * @returns {AsyncGenerator<{index: number, total: number, loss: number, read: () => Promise<Image>}>}
 */
export async function* stylizeSteps(manifest, graphs, content, style, options) {
  const { config, state: slots } = manifest;
  const stages = planJob(manifest, content, options);
  checkSides({ photo: content, style }, options.size ?? config.size);
  const total = options.numSteps ?? config.num_steps;
  const coarse = fit(content, stages[0][0]);
  let image = config.init === "content" ? coarse : matchColors(coarse, style);
  let index = 0;
  for (const [side, steps] of stages) {
    const contentHere = fit(content, side);
    const longer = round(Math.max(contentHere.width, contentHere.height) * styleScale(config));
    const styleHere = fit(style, longer, MIN_SIDE_PX);
    const fixed = await makeTargets(manifest, graphs, contentHere, styleHere, options.styleWeight ?? 1);
    const { width, height } = contentHere;
    let state = firstState(manifest, graphs, resize(image, height, width));
    const read = async () => ({ width, height, planes: clamped(await graphs.read(state.image)) });
    try {
      for (let step = 0; step < steps; step++) {
        const outputs = await graphs.step({ ...state, ...fixed });
        state = nextState(slots, state, outputs, graphs);
        index += 1;
        yield { index, total, loss: (await graphs.read(outputs.loss))[0], read };
      }
      if (index < total) image = inUnits(await read());
    } finally {
      for (const value of new Set([...Object.values(state), ...Object.values(fixed)])) graphs.dispose(value);
    }
  }
}

/** @param {Manifest["config"]} config */
const styleScale = (config) => (config.style_size ? config.style_size / config.size : config.style_scale);

/** @param {Float32Array<ArrayBuffer>} planes */
const clamped = (planes) => planes.map((level) => Math.min(LEVELS, Math.max(0, level)));

/**
 * @param {Image} image in levels
 * @returns {Image}
 */
const inUnits = (image) => ({ ...image, planes: image.planes.map((level) => level / LEVELS) });

/**
 * The step's inputs that change, before the first step.
 * @param {Manifest} manifest
 * @param {Graphs} graphs
 * @param {Image} image in [0, 1]
 */
function firstState({ state: slots, scalars }, graphs, { width, height, planes }) {
  const dims = [1, 3, height, width];
  /** @param {string} name */
  const first = (name) => {
    if (slots[name].start === "image") return graphs.upload(planes.map((value) => value * LEVELS), dims);
    if (scalars.includes(name)) return graphs.upload(new Float32Array(1), []);
    return graphs.upload(new Float32Array(planes.length), dims);
  };
  return Object.fromEntries(Object.keys(slots).map((name) => [name, first(name)]));
}

/**
 * The state after a step: outputs take the place of inputs, other inputs move on, and what nothing needs is freed.
 * @param {Manifest["state"]} slots
 * @param {Record<string, Value>} state
 * @param {Record<string, Value>} outputs
 * @param {Graphs} graphs
 */
function nextState(slots, state, outputs, graphs) {
  const next = Object.fromEntries(
    Object.entries(slots).map(([name, slot]) => [name, outputs[slot.next] ?? state[slot.next]]),
  );
  const kept = new Set(Object.values(next));
  for (const value of Object.values(state)) if (!kept.has(value)) graphs.dispose(value);
  return next;
}

/**
 * What the step compares with, and the weights of the terms, by the names of its inputs.
 * @param {Manifest} manifest
 * @param {Graphs} graphs
 * @param {Image} content
 * @param {Image} style
 * @param {number} styleWeight
 */
async function makeTargets({ config }, graphs, content, style, styleWeight) {
  const contents = config.content_layers.map((layer) => `content_${layer}`);
  const grams = config.style_layers.map((layer) => `gram_${layer}`);
  const found = {
    ...(await graphs.targets(graphs.upload(content.planes, [1, 3, content.height, content.width]), contents)),
    ...(await graphs.targets(graphs.upload(style.planes, [1, 3, style.height, style.width]), grams)),
  };
  const weights = [
    ...config.content_layer_weights.map((weight) => config.content_weight * weight),
    ...config.style_layer_weights.map((weight) => styleWeight * config.style_weight * weight),
  ];
  /** @type {Record<string, Value>} */
  const targets = {};
  for (const [i, name] of [...contents, ...grams].entries()) {
    const unit = config.terms === "relative" ? Math.max(meanSquare(await graphs.read(found[name])), SMALLEST) : 1;
    targets[name] = found[name];
    targets[`weight_${name}`] = graphs.upload(Float32Array.of(weights[i] / unit), []);
  }
  return targets;
}

/** @param {Float32Array} values */
const meanSquare = (values) => values.reduce((sum, value) => sum + value * value, 0) / values.length;
