// Requests to the server. Every failure is an Error with one line that can be shown.

async function request(method, path, body, signal) {
  const options = { method, signal };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer: is 'point2mask annotate' still running?");
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    const error = new Error(answer.error || `the server answered ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return response;
}

const json = async (...args) => (await request(...args)).json();

export const readState = () => json("GET", "/api/state");
export const readClicks = (index) => json("GET", `/api/images/${index}`);
export const readPicture = async (index) =>
  createImageBitmap(await (await request("GET", `/api/images/${index}/picture`)).blob());
export const writeTargets = (index, revision, targets) =>
  json("PUT", `/api/images/${index}/targets`, { revision, segments_info: targets });
export const undo = (index, revision) => json("POST", `/api/images/${index}/undo`, { revision });
export const redo = (index, revision) => json("POST", `/api/images/${index}/redo`, { revision });
export const addCategory = (name, isthing) => json("POST", "/api/categories", { name, isthing });
export const renameCategory = (id, name) => json("PUT", `/api/categories/${id}`, { name });
export const removeCategory = (id) => json("DELETE", `/api/categories/${id}`);
export const startExport = (format, how) => json("POST", "/api/export", { format, ...how });
export const exportStatus = () => json("GET", "/api/export");

export function warm(index, how) {
  return json("POST", `/api/images/${index}/warm?${new URLSearchParams(how)}`);
}

// The id of the target of every pixel: { width, height, ids: Uint32Array }.
export async function readMasks(index, revision, how, signal) {
  const query = new URLSearchParams({ revision, ...how });
  const response = await request("GET", `/api/images/${index}/masks?${query}`, undefined, signal);
  const numbers = new Uint32Array(await response.arrayBuffer());
  const [height, width, count] = numbers;
  const ids = new Uint32Array(height * width);
  for (let run = 0; run < count; run++) {
    const end = run + 1 < count ? numbers[3 + run + 1] : ids.length;
    ids.fill(numbers[3 + count + run], numbers[3 + run], end);
  }
  return { width, height, ids };
}
