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
const image = (index) => `/api/images/${index}`;

export const readState = () => json("GET", "/api/state");
export const readClicks = (index) => json("GET", image(index));
export const readPicture = async (index) => createImageBitmap(
  await (await request("GET", `${image(index)}/picture`)).blob());
export const thumbnail = (index) => `${image(index)}/thumbnail`;

// The name goes along: another folder may be served by now, where the number is another picture.
export const writeMarks = (index, { name, revision }, marks) => json("PUT", `${image(index)}/marks`, {
  name, revision, segments_info: marks.targets, rest: marks.rest, strokes: marks.strokes,
});
export const writeStatus = (index, { name, revision }, status) => (
  json("PUT", `${image(index)}/status`, { name, revision, status }));
export const undo = (index, { name, revision }) => (
  json("POST", `${image(index)}/undo`, { name, revision }));
export const redo = (index, { name, revision }) => (
  json("POST", `${image(index)}/redo`, { name, revision }));

export const propose = (index) => json("POST", `${image(index)}/proposals`);

export const addCategory = (name, isthing) => json("POST", "/api/categories", { name, isthing });
export const changeCategory = (id, change) => json("PUT", `/api/categories/${id}`, change);
export const removeCategory = (id) => json("DELETE", `/api/categories/${id}`);
export const undoCategories = () => json("POST", "/api/categories/undo", {});
export const redoCategories = () => json("POST", "/api/categories/redo", {});

export const startExport = (asked) => json("POST", "/api/export", asked);
export const exportStatus = () => json("GET", "/api/export");

export const startTraining = (steps) => json("POST", "/api/training", { steps });
export const trainingStatus = () => json("GET", "/api/training");
export const stopTraining = () => json("DELETE", "/api/training");
// `drawn` is another number for another picture.
export const trainingPicture = (number, drawn) => `/api/training/pictures/${number}?drawn=${drawn}`;

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
