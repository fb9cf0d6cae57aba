// Requests to the server. Every failure is an Error with one line that can be shown.

// Of the server, when the page was loaded: by another start, or of another folder, the page is refused.
let start = "";

async function request(method, path, body, signal) {
  const options = { method, signal, headers: start ? { "X-Point2mask-Start": start } : {} };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
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
const image = (index) => `/api/images/${index}`;
// What the browser asks for itself; what it keeps of one start is not shown in another.
const address = (path, query = {}) => `${path}?${new URLSearchParams({ ...query, start })}`;

export async function readState() {
  const state = await json("GET", "/api/state");
  start = state.start;
  return state;
}
export const readClicks = (index) => json("GET", image(index));
export const readPicture = async (index) => createImageBitmap(
  await (await request("GET", `${image(index)}/picture`)).blob());
export const thumbnail = (index) => address(`${image(index)}/thumbnail`);

export const writeMarks = (index, { revision }, marks) => json("PUT", `${image(index)}/marks`, {
  revision, segments_info: marks.targets, rest: marks.rest, strokes: marks.strokes,
});
export const writeStatus = (index, { revision }, status) => (
  json("PUT", `${image(index)}/status`, { revision, status }));
export const undo = (index, { revision }) => json("POST", `${image(index)}/undo`, { revision });
export const redo = (index, { revision }) => json("POST", `${image(index)}/redo`, { revision });

export const propose = (index) => json("POST", `${image(index)}/proposals`);

// What the page shows of the categories: the server refuses to undo what another window did since.
const seen = (categories) => categories.map(({ targets, ...said }) => said);

export const readCategories = () => json("GET", "/api/categories");
export const addCategory = (name, isthing) => json("POST", "/api/categories", { name, isthing });
export const changeCategory = (id, change, categories) => (
  json("PUT", `/api/categories/${id}`, { ...change, seen: seen(categories) }));
export const removeCategory = (id) => json("DELETE", `/api/categories/${id}`);
export const undoCategories = (categories) => (
  json("POST", "/api/categories/undo", { seen: seen(categories) }));
export const redoCategories = (categories) => (
  json("POST", "/api/categories/redo", { seen: seen(categories) }));

export const startExport = (asked) => json("POST", "/api/export", asked);
export const exportStatus = () => json("GET", "/api/export");
export const exportZip = () => address("/api/export/zip");

export const startTraining = (steps) => json("POST", "/api/training", { steps });
export const trainingStatus = () => json("GET", "/api/training");
export const stopTraining = () => json("DELETE", "/api/training");
// `drawn` is another number for another picture.
export const trainingPicture = (number, drawn) => address(`/api/training/pictures/${number}`, { drawn });

export const warm = (index, how) => json("POST", `${image(index)}/warm?${new URLSearchParams(how)}`);

// The id of the target of every pixel, at the size that masks are made at: { width, height, ids }.
export async function readMasks(index, revision, how, signal) {
  const query = new URLSearchParams({ revision, ...how });
  const response = await request("GET", `${image(index)}/masks?${query}`, undefined, signal);
  const numbers = new Uint32Array(await response.arrayBuffer());
  const [height, width, count] = numbers;
  const ids = new Uint32Array(height * width);
  for (let run = 0; run < count; run++) {
    const end = run + 1 < count ? numbers[3 + run + 1] : ids.length;
    ids.fill(numbers[3 + count + run], numbers[3 + run], end);
  }
  return { width, height, ids };
}
