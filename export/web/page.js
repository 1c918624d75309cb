// The page: what is chosen goes to the worker, what that makes is shown.

import { Controls } from "./controls.js";
import { element } from "./dom.js";
import { Engine } from "./engine.js";
import { listenForFiles } from "./files.js";
import { OWN, SIZES_PX, STOPS, readLink, writeLink } from "./link.js";
import { atFullSize, measurements, median } from "./measurements.js";
import { keepAll, prepare } from "./offline.js";
import { PictureError, copied } from "./picture.js";
import { encodePng, readSettings } from "./png.js";
import { Run } from "./run.js";
import { settingsInside } from "./settings.js";
import { Stage } from "./stage.js";
import { duration, megabytes } from "./words.js";

/**
 * @typedef {import("./controls.js").Kind} Kind
 * @typedef {import("./link.js").Settings} Settings
 * @typedef {import("./messages.js").Done} Done
 * @typedef {import("./messages.js").Failure} Failure
 * @typedef {import("./messages.js").Ready} Ready
 * @typedef {import("./messages.js").Samples} Samples
 * @typedef {import("./messages.js").ToPage} ToPage
 */

// The smallest module with an instruction of 128 bits: github.com/WebAssembly/simd, i8x16.splat
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];
const READY = "Ready. Press Stylize, and change anything later.";
const OPENING = "Painted by this page. Press Stylize to watch it grow, or choose pictures of your own.";
const TOO_OLD = "This browser is too old to paint: it lacks WebAssembly with SIMD, which all have had since 2023.";
const UNKEPT = "Not all of it is kept on this device: the page needs a connection.";
const INSECURE =
  "This address begins with http: browsers give threads, WebGPU and work without a connection to https alone.";
const DEFAULT_STEPS = 32; // until the worker has said what its bundle does

const TITLE = document.title;
const stage = new Stage();
const engine = new Engine(hear);
const go = element("#go", HTMLButtonElement);
const stop = element("#stop", HTMLButtonElement);
const acts = element("#acts", HTMLElement);
const stale = element("#stale", HTMLElement);

/** @type {Controls} */
let controls;
/** @type {Ready | null} */
let ready = null;
/** @type {Run | null} the one in progress */
let run = null;
let wasUsed = false; // something was chosen or begun
let isOpening = false; // opening.jpg is shown
let isWaiting = false; // Stylize was pressed before the models were here
/** @type {{file: File, link: string, report: object} | null} */
let result = null;

begin();

async function begin() {
  if (!WebAssembly?.validate?.(new Uint8Array(SIMD))) {
    go.disabled = true;
    return stage.complain(TOO_OLD);
  }
  const prepared = prepare(() => !wasUsed);
  const samples = await fetchSamples();
  if (!samples)
    return stage.complain(
      "The pictures of this page are not where they should be: load it again.",
      again(() => location.reload()),
    );
  const names = { photos: samples.photos.map(({ name }) => name), styles: samples.styles.map(({ name }) => name) };
  const linked = readLink(location.hash, names);
  controls = new Controls(samples, linked, changed);
  if (linked.photo === OWN || linked.style === OWN)
    stage.complain("A picture of this link is on the device of whoever made it: choose one of yours.");
  listen(names);
  if (location.hash) showChosen();
  else showOpening();
  if ((await prepared) && !engine.isOpen) load("auto");
}

/** @returns {Promise<Samples | null>} */
async function fetchSamples() {
  try {
    return await (await fetch("samples/samples.json")).json();
  } catch {
    return null;
  }
}

/** @param {{photos: string[], styles: string[]}} names */
function listen(names) {
  go.addEventListener("click", start);
  stop.addEventListener("click", () => {
    stage.announce("Stopping.");
    engine.stop();
  });
  element("#download", HTMLButtonElement).addEventListener("click", () => result && save(result.file));
  element("#share", HTMLButtonElement).addEventListener("click", share);
  element("#link", HTMLButtonElement).addEventListener("click", copyLink);
  element("#measurements", HTMLButtonElement).addEventListener("click", () => {
    const text = JSON.stringify(result?.report, null, 2);
    save(new File([text], "stylecore-measurements.json", { type: "application/json" }));
  });
  listenForFiles(take, (sentence) => stage.complain(sentence));
  addEventListener("hashchange", () => {
    controls.settings = readLink(location.hash, names);
  });
  document.addEventListener("visibilitychange", () => run?.stayAwake());
}

// ---- pictures

/**
 * A visitor's file; a picture that was made here brings its settings back.
 * @param {Kind} kind
 * @param {File} file
 */
async function take(kind, file) {
  try {
    const link = (await readSettings(file))?.record?.link;
    if (typeof link === "string") {
      location.hash = link;
      return stage.complain(
        "These are the settings of that picture. Its own photo, if it was none of those here, has to be chosen again.",
      );
    }
    await controls.addOwn(kind, file);
    stage.complain("");
  } catch (error) {
    stage.complain(sentence(error));
  }
}

async function showChosen() {
  if (run) return;
  try {
    const [photo, style] = await Promise.all([controls.picture("photo"), controls.picture("style")]);
    if (!run && !result) stage.showPhoto(photo, style);
  } catch (error) {
    stage.complain(sentence(error));
  }
}

/** A picture that this page has painted before: one sees at once what it is about. */
async function showOpening() {
  const [photo, response] = await Promise.all([controls.picture("photo"), fetch("opening.jpg")]).catch(() => [
    null,
    null,
  ]);
  if (!photo || !response?.ok) return showChosen();
  const picture = await response.blob();
  if (run || result) return;
  isOpening = true;
  await stage.showResult(photo, picture);
}

/** @param {Kind | null} kind */
function changed(kind) {
  wasUsed = true;
  history.replaceState(null, "", writeLink(controls.settings));
  stale.hidden = !result || result.link === writeLink(controls.settings);
  showCosts();
  if (kind && !run) {
    result = null;
    isOpening = false;
    showResultActs();
    stage.say(ready ? READY : "");
    showChosen();
  }
}

// ---- the worker

/** @param {"auto" | "wasm"} provider */
function load(provider) {
  ready = null;
  engine.load(provider);
}

/** @param {ToPage} message */
function hear(message) {
  if (message.type === "progress") showLoading(message.loaded, message.total);
  else if (message.type === "ready") becomeReady(message);
  else if (message.type === "error") fail(message);
  else if (message.type === "begun") run?.plan(message.stages);
  else if (message.type === "step" && run) {
    run.add(message);
    if (message.frame) stage.showFrame(message.frame);
    stage.say(run.words(), run.share);
    document.title = `${Math.round(100 * run.share)} % · ${TITLE}`;
  } else if (message.type === "done" && run) finish(run, message);
}

/**
 * @param {number} loaded
 * @param {number} total
 */
function showLoading(loaded, total) {
  if (run || result) return;
  const words = isWaiting ? "It begins when the models are here" : "Fetching the models, once";
  stage.say(`${words}: ${megabytes(loaded)} of ${megabytes(total)} MB`, loaded / total);
}

/** @param {Ready} message */
function becomeReady(message) {
  ready = message;
  showDevice(message);
  if (!result) stage.say(isOpening ? OPENING : READY);
  stage.announce("Ready.");
  showCosts();
  keepAll(message.provider).then((isKept) => {
    const words = isKept ? "All of it is kept on this device: the page works without a connection." : UNKEPT;
    element("#offline", HTMLElement).textContent = isSecureContext ? words : INSECURE;
  });
  if (isWaiting) start();
}

/** @param {Failure} failure */
function fail({ code, message }) {
  const failed = run;
  endRun();
  if (!result) {
    stage.say("");
    showChosen();
  }
  const smaller = SIZES_PX.filter((size) => size < (failed?.settings.size ?? 0)).at(-1);
  if (code === "memory" && smaller) {
    const act = () => {
      controls.settings = { size: smaller };
      start();
    };
    stage.complain(message, { label: `Paint it at ${smaller} px`, act });
  } else {
    const provider = ready?.provider === "webgpu" ? "wasm" : "auto"; // what has failed once is not trusted again
    stage.complain(message, engine.isOpen || code === "unsupported" ? undefined : again(() => load(provider)));
  }
  if (!engine.isOpen) ready = null;
}

/** @param {() => void} act */
function again(act) {
  return { label: "Try again", act };
}

/**
 * @param {Ready} device
 * @param {{milliseconds: number, size: number}} [pace] of the last run's steps at its full size
 */
function showDevice({ provider, threads, reason }, pace) {
  const names = { webgpu: "WebGPU", wasm: `WebAssembly, ${threads === 1 ? "one thread" : `${threads} threads`}` };
  const words = pace ? `, ${Math.round(pace.milliseconds)} ms a step at ${pace.size} px` : "";
  element("#device", HTMLElement).textContent = `This device paints by ${names[provider]}${words}. ${reason ?? ""}`;
}

function showCosts() {
  const pace = Run.pace(ready?.provider ?? "wasm");
  controls.showCosts(
    ready?.defaults.numSteps ?? DEFAULT_STEPS,
    pace === null ? null : pace * controls.settings.size ** 2,
  );
}

// ---- a run

async function start() {
  wasUsed = true;
  stage.complain("");
  if (!ready) {
    isWaiting = true;
    if (!engine.isOpen) load("auto");
    return stage.say("It begins when the models are here.");
  }
  isWaiting = false;
  const settings = controls.settings;
  try {
    const [photo, style] = await Promise.all([controls.picture("photo"), controls.picture("style")]);
    if (run) return; // pressed twice
    const numSteps = Math.max(
      1,
      Math.round(ready.defaults.numSteps * STOPS[/** @type {keyof typeof STOPS} */ (settings.detail)]),
    );
    run = new Run(settings, [photo, style], numSteps, ready.provider);
    run.takeTurn(() =>
      stage.complain("Another tab of this page is painting too: both go on, each with a part of this device."),
    );
    result = null;
    isOpening = false;
    showResultActs();
    stage.showPhoto(photo, style);
    stage.say(run.words());
    stage.announce(`Painting ${numSteps} steps.`);
    takeTurns(stop, go);
    const { size, strength } = settings;
    engine.start({ content: copied(photo), style: copied(style), size, numSteps, strength });
    scrollTo({ top: 0, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  } catch (error) {
    stage.complain(sentence(error));
  }
}

function endRun() {
  run?.end();
  run = null;
  document.title = TITLE;
  isWaiting = false;
  takeTurns(go, stop);
}

/**
 * Start and Stop are in one place: who uses the keyboard finds each where the other was.
 * @param {HTMLButtonElement} shown
 * @param {HTMLButtonElement} hidden
 */
function takeTurns(shown, hidden) {
  const hadFocus = document.activeElement === hidden;
  shown.hidden = false;
  hidden.hidden = true;
  if (hadFocus) shown.focus({ preventScroll: true });
}

/**
 * @param {Run} finished
 * @param {Done} message
 */
async function finish(finished, { image, record, stopped }) {
  endRun();
  if (!image) {
    stage.say(READY);
    return showChosen();
  }
  const link = writeLink(finished.settings);
  const settings = await settingsInside(record, finished.pictures, link, stopped ? finished.numDone : null);
  const png = await encodePng(image, settings);
  const file = new File([png], `${finished.name}.png`, { type: "image/png" });
  const device = /** @type {Ready} */ (ready);
  result = { file, link, report: measurements(device, record) };
  if (!stopped) finished.remember(record.seconds);
  if (run) return; // the next one has begun meanwhile
  await stage.showResult(finished.pictures[0], png);
  const ending = `${stopped ? "Stopped" : "Done"} after ${finished.numDone} of ${finished.numSteps} steps`;
  const took = `${ending}, ${duration(record.seconds)}.`;
  stage.say(took, stopped ? finished.share : 1);
  stage.announce(took);
  showDevice(device, { milliseconds: median(atFullSize(record)), size: record.size });
  showResultActs();
  changed(null);
}

// ---- a result

function showResultActs() {
  acts.hidden = element("#measurements", HTMLButtonElement).hidden = !result;
  stale.hidden = true;
  element("#share", HTMLButtonElement).hidden = !(result && navigator.canShare?.({ files: [result.file] }));
}

/** @param {File} file */
function save(file) {
  const url = URL.createObjectURL(file);
  Object.assign(document.createElement("a"), { href: url, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function share() {
  if (!result) return;
  const { file, link } = result;
  try {
    await navigator.share({ files: [file], title: "stylecore", url: new URL(link, location.href).href });
  } catch (error) {
    if (!(error instanceof DOMException && error.name === "AbortError"))
      stage.complain("This device did not share it: download it instead.");
  }
}

async function copyLink() {
  const link = new URL(result?.link ?? writeLink(controls.settings), location.href).href;
  const words = link.includes(`=${OWN}`)
    ? "Link copied. Your own pictures are not in it: they stay here."
    : "Link copied.";
  try {
    await navigator.clipboard.writeText(link);
    stage.say(words, element("#bar", HTMLProgressElement).value);
    stage.announce(words);
  } catch {
    prompt("The link to these settings:", link);
  }
}

/** @param {unknown} error */
function sentence(error) {
  if (error instanceof PictureError) return error.message;
  console.error(error);
  return "That did not work in this browser: load the page again.";
}
