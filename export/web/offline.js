// The service worker from the page's side: threads through isolation, and all files kept for later visits.

const TRIED = "stylecore-isolation-tried"; // in the session's storage: where it does not help, once is enough
const TIMEOUT_MS = 4000;

/**
 * Registers the service worker, and loads the page once more if that gives it threads: it adds the headers for them.
 * @param {() => boolean} mayReload asked then: what a visitor has begun is not lost for threads
 * @returns {Promise<boolean>} false: the page is being loaded again, and nothing is to be begun
 */
export async function prepare(mayReload) {
  if (!("serviceWorker" in navigator)) return true; // no https, or a private window
  try {
    await navigator.serviceWorker.register("sw.js");
    await Promise.race([controlled(), new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS))]);
    if (crossOriginIsolated || !navigator.serviceWorker.controller || sessionStorage.getItem(TRIED)) return true;
    if (!mayReload()) return true;
    sessionStorage.setItem(TRIED, "yes");
  } catch {
    return true; // a browser that allows none of it: everything else works
  }
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
 * Asks for all files to be kept that the page needs with a provider.
 * @param {string} provider
 * @returns {Promise<boolean>} whether they are; without a service worker, none is
 */
export function keepAll(provider) {
  const keeper = navigator.serviceWorker?.controller;
  if (!keeper) return Promise.resolve(false);
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data);
    keeper.postMessage({ type: "keep all", provider }, [port2]);
  });
}
