// A photo from a computer's camera. Phones have their own camera for a file input with `capture`.

import { element } from "./dom.js";

/**
 * What the visitor takes, or null. Throws where there is no camera, or it may not be used.
 * @returns {Promise<File | null>}
 */
export async function takePhoto() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } } });
  const dialog = element("#viewfinder", HTMLDialogElement);
  const video = element("video", HTMLVideoElement, dialog);
  video.srcObject = stream;
  try {
    await video.play();
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    return dialog.returnValue === "take" ? await frameOf(video) : null;
  } finally {
    dialog.close();
    for (const track of stream.getTracks()) track.stop();
  }
}

/** @param {HTMLVideoElement} video */
async function frameOf(video) {
  const canvas = Object.assign(document.createElement("canvas"), {
    width: video.videoWidth,
    height: video.videoHeight,
  });
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new File([blob], "The camera's photo", { type: "image/png" });
}
