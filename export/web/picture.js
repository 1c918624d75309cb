// Files -> pixels: turned upright, on white, and no larger than they are needed.

/** @typedef {import("./messages.js").Picture} Picture */

const MAX_SIDE_PX = 1024; // twice the largest result: what is larger is shrunk while it is decoded
const MIN_SIDE_PX = 16; // relu5_1, the deepest layer, has a position for every 16 px
const MAX_ASPECT = 12;
const HEIC = /^....ftyp(hei[cmsx]|hev[cmsx]|m[is]f1)/s;

/** What a visitor can mend, in one sentence. */
export class PictureError extends Error {}

/**
 * A file's pixels. Throws a PictureError if it is no picture that this browser reads, or has a shape that is refused.
 * @param {Blob} file
 * @param {string} name as it is called in sentences
 * @returns {Promise<Picture & {isWhole: boolean}>} isWhole: in its own resolution
 */
export async function readPicture(file, name) {
  const image = await loadImage(file, name);
  const { naturalWidth: width, naturalHeight: height } = image;
  try {
    checkShape(width, height, name);
    const factor = Math.min(1, MAX_SIDE_PX / Math.max(width, height));
    const sides = { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) };
    return { ...(await draw(image, sides, name)), isWhole: factor === 1 };
  } finally {
    URL.revokeObjectURL(image.src);
  }
}

/**
 * The header read; most browsers decode no pixels yet.
 * @param {Blob} file
 * @param {string} name
 * @returns {Promise<HTMLImageElement>}
 */
function loadImage(file, name) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = async () => {
      URL.revokeObjectURL(image.src);
      const head = new TextDecoder("latin1").decode(
        await file
          .slice(0, 64)
          .arrayBuffer()
          .catch(() => new ArrayBuffer(0)),
      );
      reject(
        new PictureError(
          HEIC.test(head)
            ? `${name} is a HEIC picture, which this browser cannot read: save it as JPEG, or open this page in Safari.`
            : `${name} is no picture that this browser can read, or is damaged: save it as PNG or JPEG.`,
        ),
      );
    };
    image.src = URL.createObjectURL(file);
  });
}

/**
 * @param {number} width
 * @param {number} height
 * @param {string} name
 */
function checkShape(width, height, name) {
  const [shorter, longer] = [Math.min(width, height), Math.max(width, height)];
  if (shorter < MIN_SIDE_PX)
    throw new PictureError(`${name} is ${width} × ${height} px: each side must be at least ${MIN_SIDE_PX} px.`);
  if (longer > MAX_ASPECT * shorter)
    throw new PictureError(
      `${name} is ${width} × ${height} px: the longer side may be ${MAX_ASPECT} times the shorter.`,
    );
}

/**
 * @param {HTMLImageElement} image
 * @param {{width: number, height: number}} sides
 * @param {string} name
 * @returns {Promise<Picture>}
 */
async function draw(image, { width, height }, name) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context)
    throw new PictureError("This browser gives no more memory for pictures: close other tabs and try again.");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  try {
    const shrunk = await createImageBitmap(image, { resizeWidth: width, resizeHeight: height, resizeQuality: "high" });
    context.drawImage(shrunk, 0, 0);
    shrunk.close();
  } catch {
    throw new PictureError(`${name} is damaged, or too large for this browser: save it smaller, as PNG or JPEG.`);
  }
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, data };
}

/**
 * A copy: pictures that go to the worker are gone here.
 * @param {Picture} picture
 * @returns {Picture}
 */
export function copied({ width, height, data }) {
  return { width, height, data: data.slice() };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Picture} picture
 */
export function show(canvas, { width, height, data }) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
}
