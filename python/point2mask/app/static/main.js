// The page: what is shown, and what the user does to it. The server holds the truth.

import * as api from "./api.js";
import {
  $, fillSelect, filterPictures, showCategories, showCurrent, showMessage, showPictures,
  showProgress, showSaved, showTargets,
} from "./panels.js";
import {
  targetColors, withCategory, withClick, withMoved, withoutClick, withoutTarget,
} from "./targets.js";
import { listen } from "./input.js";
import { View } from "./view.js";

const view = new View($("canvas"));
let images = [];
let categories = [];
let index = 0;
let clicks = null; // what the server says of the picture
let category = null;
let selected = { id: null, point: null };
let masksShown = true;
let queue = Promise.resolve(); // changes go one after the other
let pending = null; // an AbortController of the masks that are on their way
let idle = 0;

const how = () => ({ cue: $("cue").value, assigner: $("assigner").value });

// Work on the server, after what was asked for before; a failure is shown.
function run(work) {
  queue = queue.then(work).catch((error) => {
    if (error.name !== "AbortError") showMessage(error.message);
  });
  return queue;
}

function refresh() {
  const targets = clicks ? clicks.segments_info : [];
  const colors = targetColors(targets, categories);
  view.clicks = targets.flatMap((target) => target.points.map(([x, y], point) => ({
    x: Math.floor(x) + 0.5, y: Math.floor(y) + 0.5, color: colors[target.id], target: target.id,
    point, selected: target.id === selected.id,
  })));
  view.opacity = masksShown ? $("opacity").value / 100 : 0;
  showTargets(targets, categories, colors, selected.id, {
    select: (target) => select(target.id, 0),
    remove: (target) => change((list) => withoutTarget(list, target.id)),
  });
  showCategories(categories, category?.id, {
    choose: chooseCategory,
    rename: renameCategory,
    remove: (c) => changeCategories(() => api.removeCategory(c.id)),
  });
  $("undo").disabled = !clicks?.undo;
  $("redo").disabled = !clicks?.redo;
  view.draw();
}

function take(answer) {
  clicks = answer;
  if (!clicks.segments_info.some((target) => target.id === selected.id)) {
    selected = { id: null, point: null };
  }
  images[index].targets = clicks.segments_info.length;
  loadMasks(); // on their way while the page draws
  showProgress(images, index);
  refresh();
}

async function loadMasks() {
  pending?.abort();
  clearTimeout(idle);
  const mine = (pending = new AbortController());
  const shown = { index, revision: clicks.revision };
  $("canvas").dataset.masks = "waiting";
  if (!clicks.segments_info.length) {
    view.clearMasks();
    $("latency").textContent = "";
    $("canvas").dataset.masks = `${shown.index}/${shown.revision}`;
    if ($("canvas").dataset.warmed !== String(index)) warm(index);
    return;
  }
  const start = performance.now();
  try {
    const masks = await api.readMasks(index, clicks.revision, how(), mine.signal);
    if (mine.signal.aborted) return;
    view.setMasks(masks, targetColors(clicks.segments_info, categories));
    $("latency").textContent = `masks in ${Math.round(performance.now() - start)} ms`;
    $("canvas").dataset.masks = `${shown.index}/${shown.revision}`;
    if (index + 1 < images.length) idle = setTimeout(() => warm(index + 1), 1500);
  } catch (error) {
    if (error.name === "AbortError" || error.status === 409) return;
    view.clearMasks();
    showMessage(error.message);
  }
}

// What does not depend on clicks, while the user still looks.
function warm(which) {
  $("canvas").dataset.warmed = which;
  api.warm(which, how()).catch(() => {}); // opening the picture says what is wrong with it
}

// `make` turns the targets into { list, id, point }, or null for no change.
function change(make) {
  return run(async () => {
    if (!clicks) return;
    const made = make(clicks.segments_info);
    if (!made) return refresh();
    await save(() => api.writeTargets(index, clicks.revision, made.list), made);
  });
}

async function save(work, select = selected) {
  showSaved("saving …", true);
  try {
    const answer = await work();
    selected = { id: select.id, point: select.point };
    showMessage("");
    showSaved("saved", false);
    take(answer);
  } catch (error) {
    showSaved("not saved", true);
    if (error.status === 409) take(await api.readClicks(index));
    refresh();
    throw error;
  }
}

const step = (what) => run(async () => {
  const left = what === "undo" ? clicks?.undo : clicks?.redo;
  if (left) await save(() => api[what](index, clicks.revision));
});

function select(id, point) {
  selected = { id, point };
  refresh();
}

function chooseCategory(chosen) {
  category = chosen;
  refresh();
}

function open(next) {
  if (next < 0 || next >= images.length) return queue;
  return run(async () => {
    pending?.abort();
    clearTimeout(idle);
    index = next;
    clicks = null;
    selected = { id: null, point: null };
    view.show(null);
    showCurrent(index);
    showMessage("");
    $("title").textContent = images[index].name;
    $("previous").disabled = index === 0;
    $("next").disabled = index === images.length - 1;
    refresh();
    const [answer, picture] = await Promise.all([api.readClicks(index), api.readPicture(index)]);
    view.show(picture);
    take(answer);
    $("title").textContent = `${answer.name} — ${answer.width} × ${answer.height}`;
  });
}

function openUnlabelled() {
  const order = images.map((_, i) => (index + 1 + i) % images.length);
  const next = order.find((i) => images[i].targets === 0);
  if (next === undefined) showMessage("every picture has clicks");
  else open(next);
}

function changeCategories(work) {
  return run(async () => {
    categories = await work();
    category = categories.find((c) => c.id === category?.id) || categories.at(-1) || null;
    showMessage("");
    refresh();
  });
}

function renameCategory(old) {
  const name = window.prompt(`Another name for ${old.name}`, old.name);
  if (name && name !== old.name) changeCategories(() => api.renameCategory(old.id, name.trim()));
}

$("new-category").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("category-name").value.trim();
  changeCategories(async () => {
    const all = await api.addCategory(name, Number($("category-kind").value));
    category = all.at(-1);
    $("category-name").value = "";
    $("category-name").blur();
    return all;
  });
});

$("export").addEventListener("click", () => run(async () => {
  const say = (text, wrong = false) => {
    $("export-status").textContent = text;
    $("export-status").classList.toggle("error", wrong);
    $("export-status").scrollIntoView({ block: "nearest" });
  };
  $("export").disabled = true;
  try {
    let status = await api.startExport($("format").value, how());
    watch(status);
  } catch (error) {
    say(error.message, true);
    $("export").disabled = false;
  }

  async function watch(status) {
    while (status.state === "running") {
      say(status.total ? `${status.done} of ${status.total} …` : "working …");
      await new Promise((resolve) => setTimeout(resolve, 200));
      try {
        status = await api.exportStatus();
      } catch (error) {
        status = { state: "failed", error: error.message };
      }
    }
    if (status.state === "done") say(`written to ${status.path}`);
    else say(status.error, true);
    $("export").disabled = false;
  }
}));

for (const id of ["cue", "assigner"]) {
  $(id).addEventListener("change", () => {
    $("assigner").disabled = $("cue").value === "checkpoint"; // it brings its own
    if (clicks) loadMasks();
  });
}
$("opacity").addEventListener("input", refresh);
$("filter").addEventListener("input", () => filterPictures($("filter").value));

const actions = {
  undo: () => step("undo"),
  redo: () => step("redo"),
  previous: () => open(index - 1),
  next: () => open(index + 1),
  unlabelled: openUnlabelled,
  fit: () => view.fit(),
  help: () => $("keys").showModal(),
  masks: () => {
    masksShown = !masksShown;
    refresh();
  },
  category: (number) => categories[number] && chooseCategory(categories[number]),
  newCategory: () => $("category-name").focus(),
  recategorise: () => category
    && change((list) => withCategory(list, selected.id, category)),
  selectNext: () => {
    const ids = clicks?.segments_info.map((target) => target.id) || [];
    if (ids.length) select(ids[(ids.indexOf(selected.id) + 1) % ids.length], 0);
  },
  selectNone: () => select(null, null),
  select,
  click: (point, grow) => {
    if (!category) return showMessage("choose a category first, or make one (N)");
    const id = grow ? selected.id : null;
    change((list) => withClick(list, point, category, id));
  },
  move: (id, at, point) => change((list) => withMoved(list, id, at, point)),
  removeClick: (id = selected.id, point = selected.point) => {
    if (id !== null) change((list) => withoutClick(list, id, point));
  },
  removeTarget: () => selected.id !== null && change((list) => withoutTarget(list, selected.id)),
};
for (const id of ["undo", "redo", "previous", "next", "unlabelled", "fit", "help"]) {
  $(id).addEventListener("click", () => {
    actions[id]();
    $(id).blur(); // keys belong to the picture
  });
}
listen(view, actions);

run(async () => {
  const state = await api.readState();
  images = state.images;
  categories = state.categories;
  category = categories[0] || null;
  $("folder").textContent = `clicks: ${state.file}`;
  fillSelect($("cue"), state.cues);
  fillSelect($("assigner"), state.assigners);
  fillSelect($("format"), state.formats);
  showPictures(images, open);
  showProgress(images, null);
  const first = images.findIndex((image) => image.targets === 0);
  setTimeout(() => open(Math.max(0, first)));
});
