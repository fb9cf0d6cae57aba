// What is kept: the place in the address, choices in the browser.

const KEY = "point2mask annotate";

export function readPlace() {
  const place = new URLSearchParams(window.location.hash.slice(1));
  return Object.fromEntries(place);
}

// The picture, cue and assigner; a link to it opens the same.
export function writePlace(place) {
  const hash = `#${new URLSearchParams(place)}`;
  if (hash !== window.location.hash) window.history.replaceState(null, "", hash);
}

export function readSettings() {
  try {
    return JSON.parse(window.localStorage.getItem(KEY)) || {};
  } catch {
    return {}; // a browser that keeps nothing
  }
}

export function keepSettings(changes) {
  try {
    window.localStorage.setItem(KEY, JSON.stringify({ ...readSettings(), ...changes }));
  } catch {
    // The page works all the same.
  }
}
