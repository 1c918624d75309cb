// What the build writes for the runtime, and what the runtime asks of whoever runs the graphs. Types alone.
import type { Provider } from "./messages.js";

/** models/manifest.json: `export/webpage.py` writes it. */
export interface Manifest {
  format: number;
  version: string;
  runtime: string; // onnxruntime-web's version
  config: {
    encoder: string;
    loss: string;
    terms: string;
    init: string;
    size: number;
    num_steps: number;
    style_scale: number;
    style_size: number;
    stages: { scale: number; share: number }[];
    content_layers: string[];
    style_layers: string[];
    content_layer_weights: number[];
    style_layer_weights: number[];
    content_weight: number;
    style_weight: number;
  };
  state: Record<string, { next: string; start: "image" | "zeros" }>;
  scalars: string[]; // of the state
  middle_weight: number; // of strength
  providers: Record<Provider, { precision: string; targets: string; step: string }>; // files
  weights: string;
  files: Record<string, { bytes: number; sha256: string }>;
  known: Known;
}

/** A stylization whose values are known: Python's, of the pictures that `pattern` draws. */
export interface Known {
  size: number;
  steps: number;
  losses: Record<Provider, number[]>;
  image: Record<Provider, string>; // the last one's planes in 8-bit levels, base64
}

/** Three planes of float32, one after the other. */
export interface Image {
  width: number;
  height: number;
  planes: Float32Array<ArrayBuffer>;
}

/** The two graphs on some provider. */
export interface Graphs {
  targets(image: Value, names: string[]): Promise<Record<string, Value>>;
  step(inputs: Record<string, Value>): Promise<Record<string, Value>>;
  upload(values: Float32Array, dims: number[]): Value;
  read(value: Value): Promise<Float32Array<ArrayBuffer>>;
  dispose(value: Value): void;
}

/** What we use of onnxruntime-web: its own types come from another package. */
export interface Runtime {
  env: { logLevel: string; wasm: { numThreads: number; wasmPaths: string } };
  InferenceSession: { create(model: Uint8Array, options: SessionOptions): Promise<Session> };
  Tensor: new (type: "float32", data: Float32Array, dims: number[]) => Value;
}

export interface SessionOptions {
  executionProviders: string[];
  externalData: { path: string; data: Uint8Array }[];
  enableMemPattern: boolean;
  enableCpuMemArena: boolean;
  logSeverityLevel: number;
  extra?: Record<string, Record<string, string>>;
  preferredOutputLocation?: "gpu-buffer";
}

export interface Session {
  run(inputs: Record<string, Value>, outputs: string[]): Promise<Record<string, Value>>;
}

export interface Value {
  getData(): Promise<Float32Array<ArrayBuffer>>;
  dispose(): void;
}
