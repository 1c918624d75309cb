// The service worker from the page's side: threads through isolation, and all files kept for later visits without a net.

const TRIED = "stylecore-isolation-tried"; // in the session's storage: a host that forbids it does not make us load for ever
const TIMEOUT_MS = 4000;

/**
 * Registers the service worker, and loads the page once more if that gives it threads: the headers for them come with it.
 * @returns {Promise<boolean>} false: the page is being loaded again, and nothing is to be begun
 */
export async function prepare() {
  if (!("serviceWorker" in navigator)) return true; // no https, or a private window
  try {
    await navigator.serviceWorker.register("sw.js");
    await Promise.race([controlled(), new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS))]);
  } catch {
    return true; // a browser that allows none: everything else works
  }
  if (crossOriginIsolated || !navigator.serviceWorker.controller || sessionStorage.getItem(TRIED)) return true;
  sessionStorage.setItem(TRIED, "yes");
  location.reload();
  return false;
}

/** @returns {Promise<void>} */
function controlled() {
  return new Promise((resolve) => {
    if (navigator.serviceWorker.controller) resolve();
    navigator.serviceWorker.addEventListener("controllerchange", () => resolve());
  });
}

/**
 * Asks for all files to be kept.
 * @param {(isKept: boolean) => void} then
 */
export function keepAll(then) {
  const container = navigator.serviceWorker;
  if (!container?.controller) return;
  container.addEventListener("message", ({ data }) => {
    if (data?.type === "kept") then(data.isKept);
  });
  container.controller.postMessage({ type: "keep all" });
}
