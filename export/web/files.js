// How files come in: chosen, taken by the camera, pasted or dropped.

import { takePhoto } from "./camera.js";
import { element } from "./dom.js";

/** @typedef {import("./controls.js").Kind} Kind */

/** @type {[string, Kind][]} */
const INPUTS = [
  ["#photo-file", "photo"],
  ["#photo-camera", "photo"],
  ["#style-file", "style"],
];

/**
 * @param {(kind: Kind, file: File) => void} take
 * @param {(sentence: string) => void} complain
 */
export function listenForFiles(take, complain) {
  for (const [id, kind] of INPUTS) {
    const input = element(id, HTMLInputElement);
    input.addEventListener("change", () => {
      if (input.files?.[0]) take(kind, input.files[0]);
      input.value = ""; // the same file may be chosen again
    });
  }
  addEventListener("paste", ({ clipboardData }) => {
    const file = pictureIn(clipboardData);
    if (file) take("photo", file);
  });
  listenForDrops(take);
  listenForCamera(take, complain);
}

/** @param {(kind: Kind, file: File) => void} take */
function listenForDrops(take) {
  const sign = element("#drop", HTMLElement);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    sign.hidden = !event.dataTransfer?.types.includes("Files");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) sign.hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    sign.hidden = true;
    const file = pictureIn(event.dataTransfer);
    const isStyle = event.target instanceof Element && event.target.closest("#styles");
    if (file) take(isStyle ? "style" : "photo", file);
  });
}

/**
 * @param {(kind: Kind, file: File) => void} take
 * @param {(sentence: string) => void} complain
 */
function listenForCamera(take, complain) {
  const button = element("#camera", HTMLButtonElement);
  button.hidden = !navigator.mediaDevices; // as on plain http
  button.addEventListener("click", async () => {
    try {
      const file = await takePhoto();
      if (file) take("photo", file);
    } catch {
      complain("The camera cannot be used: allow it for this page, or choose a file.");
    }
  });
}

/** @param {DataTransfer | null} data */
function pictureIn(data) {
  return Array.from(data?.files ?? []).find(({ type }) => type.startsWith("image/") || !type); // HEIC has none in some
}
