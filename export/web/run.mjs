// Runs one ONNX file under onnxruntime-web (WebAssembly, one thread): node run.mjs FOLDER REPEATS
// FOLDER holds model.onnx and feeds.json, a list of {name: {type, dims, file}}; outputs.json and one file for each
// output of each feed are written beside them, and the milliseconds of every run.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, repeats] = [process.argv[2], Number(process.argv[3])];
const require = createRequire(pathToFileURL(join(process.cwd(), "run.mjs")));
const ort = require("onnxruntime-web");
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(join(folder, "model.onnx"))), {
  executionProviders: ["wasm"],
});
const views = { float32: Float32Array, uint8: Uint8Array };
const record = { version: ort.env.versions.web, outputs: [], milliseconds: [] };
for (const [index, feed] of JSON.parse(readFileSync(join(folder, "feeds.json"), "utf8")).entries()) {
  const tensors = {};
  for (const [name, { type, dims, file }] of Object.entries(feed)) {
    const bytes = readFileSync(join(folder, file));
    const values = new views[type](bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    tensors[name] = new ort.Tensor(type, values, dims);
  }
  let results = await session.run(tensors);
  for (let run = 0; run < repeats; run++) {
    const started = performance.now();
    results = await session.run(tensors);
    record.milliseconds.push(performance.now() - started);
  }
  record.outputs.push(
    session.outputNames.map((name, place) => {
      const { data, dims, type } = results[name];
      const file = `output_${index}_${place}.bin`;
      writeFileSync(join(folder, file), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      return { file, dims, type };
    }),
  );
}
writeFileSync(join(folder, "outputs.json"), JSON.stringify(record));
