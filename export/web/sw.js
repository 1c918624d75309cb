// The service worker: every file is kept, so that the page works offline, and comes with the headers that let
// WebAssembly have threads, which hosts such as GitHub Pages cannot set.
//
// A file is kept under its address and checksum of files.json: after an update only what has changed is fetched again,
// and a damaged file is never kept.

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
/** @typedef {import("./messages.js").Inventory} Inventory */

const CACHE = `stylecore ${worker.registration.scope}`; // one for each folder of a host
const LIST = new URL("files.json", worker.registration.scope).href;
const LIST_TIMEOUT_MS = 4000; // on a slow line the page opens with the list that is here
const HEADERS = {
  "Cache-Control": "no-cache", // a page keeps files in its own memory, too, and would not ask here for new ones
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};

worker.addEventListener("install", () => worker.skipWaiting());
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener("fetch", (event) => {
  const { method, url, mode } = event.request;
  if (method !== "GET" || !url.startsWith(worker.registration.scope)) return;
  /** @param {Promise<void>} work */
  const waitFor = (work) => event.waitUntil(work);
  event.respondWith(mode === "navigate" ? updateList().then(() => answer(url, waitFor)) : answer(url, waitFor));
});

// The page asks for all files once it has what it needs itself, and hears whether they are kept.
worker.addEventListener("message", (event) => {
  if (event.data?.type !== "keep all") return;
  event.waitUntil(keepAll(event.data.provider).then((isKept) => event.ports[0].postMessage(isKept)));
});

/** The list of files, from the host if that answers in time. */
async function updateList() {
  const signal = AbortSignal.timeout(LIST_TIMEOUT_MS);
  const response = await fetch(LIST, { cache: "no-cache", signal }).catch(() => null);
  if (!response?.ok) return;
  const cache = await caches.open(CACHE);
  await cache.put(LIST, response);
  await removeOld(cache);
}

/** @returns {Promise<Inventory | null>} */
async function readList() {
  const found = await (await caches.open(CACHE)).match(LIST);
  return found ? found.json().catch(() => null) : null;
}

/**
 * @param {string} url
 * @param {(work: Promise<void>) => void} waitFor
 */
async function answer(url, waitFor) {
  const path = pathOf(url);
  if (path === "files.json") return withHeaders(await fetchListed());
  const entry = (await readList())?.files?.find((file) => file.path === path);
  return withHeaders(entry ? await keptOrFetched(entry, waitFor) : await fetch(url).catch(unreachable));
}

async function fetchListed() {
  const kept = await (await caches.open(CACHE)).match(LIST);
  return kept ?? fetch(LIST, { cache: "no-cache" }).catch(unreachable);
}

/**
 * From here, or from the host; then it is checked and kept while it is on its way already.
 * @param {Inventory["files"][number]} entry
 * @param {(work: Promise<void>) => void} waitFor
 * @returns {Promise<Response>}
 */
async function keptOrFetched(entry, waitFor) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(keyOf(entry));
  if (kept) return kept;
  const response = await fetch(addressOf(entry), { cache: "no-cache" }).catch(unreachable);
  if (response.ok) waitFor(keep(cache, entry, response.clone()));
  return response;
}

/**
 * @param {Cache} cache
 * @param {Inventory["files"][number]} entry
 * @param {Response} response
 */
async function keep(cache, entry, response) {
  const { headers } = response;
  const body = await response.arrayBuffer();
  // A full disk keeps nobody from painting.
  if (await isSound(body, entry)) await cache.put(keyOf(entry), new Response(body, { headers })).catch(() => {});
}

/**
 * Whether all files are kept now that the page needs with a provider.
 * @param {string} provider
 */
async function keepAll(provider) {
  const list = await readList();
  if (!list) return false;
  const cache = await caches.open(CACHE);
  const needed = list.files.filter((entry) => (entry.provider ?? provider) === provider);
  for (const entry of needed) {
    /** @type {Promise<void>[]} */
    const work = [];
    await keptOrFetched(entry, (each) => work.push(each));
    await Promise.all(work);
  }
  const kept = await Promise.all(needed.map((entry) => cache.match(keyOf(entry))));
  return kept.every(Boolean);
}

/** @param {Cache} cache */
async function removeOld(cache) {
  const list = await readList();
  if (!list) return;
  const wanted = new Set([LIST, ...list.files.map(keyOf)]);
  for (const request of await cache.keys()) if (!wanted.has(request.url)) await cache.delete(request);
}

/**
 * @param {ArrayBuffer} body
 * @param {Inventory["files"][number]} entry
 */
async function isSound(body, { bytes, sha256 }) {
  if (body.byteLength !== bytes) return false;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}

/** @param {Response} response */
function withHeaders(response) {
  if (response.type === "opaque" || response.type === "error" || response.status === 304) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}

function unreachable() {
  return new Response("This file is not kept here, and its host cannot be reached.", { status: 504 });
}

/** A path within the folder, as files.json has it. @param {string} url */
function pathOf(url) {
  const path = decodeURI(new URL(url).pathname).slice(new URL(worker.registration.scope).pathname.length);
  return path || "index.html";
}

/** @param {Inventory["files"][number]} entry */
function addressOf({ path }) {
  return new URL(path, worker.registration.scope).href;
}

/** @param {Inventory["files"][number]} entry */
function keyOf(entry) {
  return `${addressOf(entry)}?sha256=${entry.sha256}`;
}
