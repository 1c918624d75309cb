// What a run took on this device, as a record of `stylecore export views`: export/record.py has the form.

/**
 * @typedef {import("./messages.js").Ready} Ready
 * @typedef {import("./messages.js").RunRecord} RunRecord
 */

/**
 * Milliseconds of the steps at the result's own size; of all, where a run was stopped before.
 * @param {RunRecord} record
 */
export function atFullSize({ milliseconds, stages }) {
  const before = stages.slice(0, -1).reduce((sum, [, steps]) => sum + steps, 0);
  return milliseconds.length > before ? milliseconds.slice(before) : milliseconds;
}

/** @param {number[]} values at least one */
export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/**
 * @param {Ready} ready
 * @param {RunRecord} record
 */
export function measurements(ready, record) {
  const agent = /** @type {any} */ (navigator).userAgentData;
  const brands = agent?.brands?.map((/** @type {any} */ each) => `${each.brand} ${each.version}`).join(", ");
  const row = {
    name: "step in a browser",
    task: "features",
    encoder: ready.encoder,
    precision: ready.precision,
    num_threads: record.threads,
    provider: `web-${record.provider}`,
    size_px: record.size,
    milliseconds: atFullSize(record).map((each) => Number(each.toFixed(3))),
    peak_memory_mib: record.heap_mib,
  };
  return {
    kind: "export-bench",
    environment: {
      cpu: `${navigator.hardwareConcurrency ?? "?"} cores: write the device's name here`,
      system: agent?.platform || navigator.userAgent,
      browser: brands || navigator.userAgent,
      onnxruntime: ready.runtime,
      stylecore: ready.version,
      pixels_per_point: devicePixelRatio,
    },
    rows: [row],
  };
}
