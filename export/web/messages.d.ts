// What page and worker say to each other, and what the build writes for the page. Types alone: no browser loads this.

/** Pixels, turned upright; RGBA, 8 bits, opaque. */
export interface Picture {
  width: number;
  height: number;
  data: Uint8ClampedArray<ArrayBuffer>;
}

export type Provider = "wasm" | "webgpu";

export interface Start {
  type: "start";
  id: number;
  content: Picture;
  style: Picture;
  size: number; // longer side of the result in px
  numSteps?: number; // default: the bundle's
  strength: number; // 0, the photo, to 100, the painting
  seed?: number;
}

export interface Load {
  type: "load";
  provider: "auto" | Provider;
  maxThreads?: number;
}

export type ToWorker = Load | Start | { type: "stop"; id: number };

export interface Ready {
  type: "ready";
  provider: Provider;
  threads: number;
  reason?: string; // why it is not the provider that would be faster: a sentence
  version: string;
  encoder: string;
  precision: string;
  runtime: string; // onnxruntime-web's version
  defaults: { size: number; numSteps: number; strength: number };
}

export interface Begun {
  type: "begun";
  id: number;
  stages: [side_px: number, steps: number][];
}

export interface Step {
  type: "step";
  id: number;
  index: number; // 1 to total
  total: number;
  loss: number;
  milliseconds: number;
  frame?: Picture;
}

export interface RunRecord {
  size: number;
  num_steps: number;
  strength: number;
  version: string;
  provider: Provider;
  threads: number;
  seconds: number;
  first_frame_seconds: number;
  milliseconds_per_step: number; // the median
  milliseconds: number[]; // of each step
  stages: [side_px: number, steps: number][];
  heap_mib: number | null;
  loss: number;
  config: Record<string, unknown>; // of a StylizeConfig, as this run had it
}

export interface Done {
  type: "done";
  id: number;
  image: Picture | null; // null: stopped before the first step
  record: RunRecord;
  stopped: boolean;
}

export interface Failure {
  type: "error";
  id?: number;
  code: "memory" | "model" | "picture" | "diverged" | "unsupported" | "internal";
  message: string; // a sentence
}

export type ToPage = { type: "progress"; loaded: number; total: number } | Ready | Begun | Step | Done | Failure;

/** An entry of samples/samples.json. */
export interface Sample {
  name: string;
  label: string;
  path: string; // relative to the page
}

export interface Samples {
  photos: Sample[];
  styles: Sample[];
}

/** files.json: all files of the folder but itself and sw.js. */
export interface Inventory {
  version: string;
  files: { path: string; bytes: number; sha256: string; provider?: Provider }[]; // provider: only that needs it
}

declare global {
  /** stylecore/report/viewer.js, which the build copies beside the page. */
  const startViewer: (root: unknown) => void;
}
