// The page: its parts put together, and what the user does to it.

import * as api from "./api.js";
import { css, REST_COLOR, targetColors } from "./colors.js";
import { $, fillSelect } from "./dom.js";
import { listenToExports } from "./exports.js";
import { givenClicks } from "./given.js";
import { listenToKeys } from "./keys.js";
import { editCategory, showCategories, showTargets } from "./labels.js";
import {
  REST, withCategory, withClick, withMoved, withoutClick, withoutStrokes, withoutTarget,
} from "./marks.js";
import { MaskLoader } from "./masks.js";
import { FILTERS, PictureList } from "./pictures.js";
import { listenToPointers } from "./pointer.js";
import { Session } from "./session.js";
import { keepSettings, readPlace, readSettings, writePlace } from "./settings.js";
import { circles, sizing } from "./sizes.js";
import { strokes } from "./strokes.js";
import { listenToTraining } from "./training.js";
import { View } from "./view.js";

const view = new View($("canvas"));
const settings = readSettings();
let tool = "click";
let masksShown = true;

const how = () => ({ cue: $("cue").value, assigner: $("assigner").value });
const session = new Session({
  shown: refresh,
  marked: () => {
    masks.load(); // on their way while the page draws
    pictures.showProgress();
    refresh();
  },
  opened: showPicture,
  message: showMessage,
  saved: (text, busy) => {
    $("saved").textContent = text;
    $("saved").classList.toggle("busy", busy);
  },
});
const colors = () => ({
  ...targetColors(session.clicks?.segments_info || [], session.categories), [REST]: REST_COLOR,
});
const masks = new MaskLoader(session, view, how, colors, {
  loaded: (text) => {
    $("latency").textContent = text;
    refresh();
  },
  failed: showMessage,
  outdated: () => session.renew(),
});
const pictures = new PictureList((index) => {
  session.open(index);
  closeDrawers();
});

function refresh() {
  const marks = session.clicks ? session.marks : { targets: [], rest: [], strokes: [] };
  const { selected, hovered, categories } = session;
  const painted = colors();
  view.clicks = [{ id: REST, points: marks.rest }, ...marks.targets].flatMap(({ id, points }) => (
    points.map(([x, y], point) => ({
      x: Math.floor(x) + 0.5, y: Math.floor(y) + 0.5, color: painted[id], target: id, point,
      selected: id === selected.id, hovered: id === hovered,
    }))));
  view.sizes = circles(marks.targets, painted, selected.id);
  view.opacity = masksShown ? $("opacity").value / 100 : 0;
  showTargets({
    marks, categories, colors: painted, shares: masks.shares, selected: selected.id, hovered,
    pixels: session.clicks ? session.clicks.width * session.clicks.height : 0,
  }, {
    select: (id) => session.select(id),
    hover: (id) => session.hover(id),
    remove: (id) => session.change((now) => withoutTarget(now, id)),
  });
  showCategories(categories, session.category?.id, {
    choose: (category) => session.choose(category),
    edit: edit,
  });
  $("now").textContent = session.category?.name || "no category yet";
  $("now-color").style.backgroundColor = session.category ? css(session.category.color) : "";
  $("undo").disabled = !session.can("undo");
  $("redo").disabled = !session.can("redo");
  $("status").value = session.clicks?.status || "";
  $("remove-strokes").hidden = !marks.strokes.length;
  $("hidden-masks").hidden = masksShown || !marks.targets.length;
  masks.tint();
}

function showPicture(picture, clicks) {
  const { index, image, images } = session;
  masks.stop();
  pointers.drop();
  view.show(picture, clicks?.orientation);
  $("title").textContent = clicks
    ? `${clicks.name} — ${view.width} × ${view.height}` : image.name;
  if (clicks) return;
  pictures.showCurrent(index);
  $("previous").disabled = index === 0;
  $("next").disabled = index === images.length - 1;
  remember();
  refresh();
}

function showMessage(text) {
  $("message-text").textContent = text || "";
  $("message").classList.toggle("shown", Boolean(text));
}

function remember() {
  writePlace({ picture: session.image.name, ...how() });
}

function chooseTool(name) {
  tool = name;
  pointers.drop();
  view.draft = null;
  view.brush = null;
  for (const button of document.querySelectorAll("[data-tool]")) {
    const chosen = button.dataset.tool === name;
    button.setAttribute("aria-checked", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
  $("brush-width").hidden = !["brush", "eraser"].includes(name);
  view.draw();
}

function edit(category) {
  editCategory(category, {
    change: (change) => session.changeCategories((all) => api.changeCategory(category.id, change, all)),
    remove: () => session.changeCategories(() => api.removeCategory(category.id)),
  });
}

// Who gets a click with a tool: null is a new target.
function receiver(event, used) {
  if (event.altKey || used === "rest") return REST;
  if (used === "more" || event.shiftKey) return session.selected.id;
  return null;
}

function click(point, event) {
  if (event.ctrlKey || event.metaKey) {
    const id = masks.at(point);
    return id ? session.select(id) : session.selectNone();
  }
  const { category } = session;
  const used = tool;
  // What is selected is asked for when its turn comes: the change before it may make a target.
  session.change((marks) => {
    const id = receiver(event, used);
    if (used === "more" && id === null) return showMessage("select a target first: click on one of its clicks");
    if (id === null && !category) return needCategory();
    return withClick(marks, point, category, id);
  });
}

function needCategory() {
  showMessage("choose a category first, or make one (N)");
}

const colorOf = (id) => colors()[id] || session.category.color;
const size = sizing(session, view, colorOf, showMessage);
const byHand = strokes(session, view, {
  tool: () => tool, color: colorOf, width: () => Number($("brush").value), needCategory,
  say: showMessage,
});
const act = {
  ...size,
  ...byHand,
  click,
  refresh,
  select: (id, point) => session.select(id, point),
  move: (from, point) => session.change((marks) => withMoved(marks, from, point)),
  removeClick: (point) => session.change((marks) => withoutClick(marks, point)),
  hover: (point) => session.hover(masks.at(point) || null),
};

function open(index, otherwise) {
  if (index === undefined) showMessage(otherwise);
  else session.open(index);
}

const actions = {
  undo: () => act.removeCorner() || session.step("undo"),
  redo: () => session.step("redo"),
  previous: () => session.open(session.index - 1),
  next: () => session.open(session.index + 1),
  unlabelled: () => open(session.find(FILTERS["without clicks"]), "every picture has clicks"),
  done: () => session.setStatus("done", () => open(
    session.find((image) => !image.status), "every picture has a status")),
  ...givenClicks(session, showMessage), // copyPrevious, propose
  fit: () => view.fit(),
  zoomIn: () => view.zoom(1.25),
  zoomOut: () => view.zoom(0.8),
  hold: (on) => pointers.hold(on),
  help: () => $("keys").showModal(),
  tool: chooseTool,
  masks: () => {
    masksShown = !masksShown;
    refresh();
  },
  category: (number) => session.categories[number] && session.choose(session.categories[number]),
  newCategory: () => {
    openDrawer("right");
    $("category-name").focus();
  },
  recategorise: () => {
    const { category } = session;
    if (category) session.change((marks) => withCategory(marks, session.selected.id, category));
  },
  selectNext: () => session.selectNext(1),
  selectPrevious: () => session.selectNext(-1),
  crosshair: (dx, dy) => {
    view.moveCrosshair(dx, dy);
    size.followCrosshair();
  },
  clickAtCrosshair: (event) => {
    if (!view.crosshair) return view.moveCrosshair(0, 0);
    if (tool === "polygon") return act.cornerAtCrosshair();
    if (tool === "size") return size.sizeAtCrosshair();
    if (["brush", "eraser"].includes(tool)) return act.endStroke(act.startStroke(view.crosshair));
    return click(view.crosshair, event);
  },
  escape: () => {
    closeDrawers();
    pointers.drop();
    if (view.draft) view.draft = null;
    else session.selectNone();
    view.draw();
  },
  removeClick: () => {
    if (act.removeCorner()) return;
    session.change((marks) => {
      const { at } = session.selected;
      return at && withoutClick(marks, at);
    });
  },
  removeTarget: () => {
    session.change((marks) => {
      const { id } = session.selected;
      return id === null ? null : withoutTarget(marks, id);
    });
  },
  removeStrokes: () => {
    const { id } = session.selected;
    session.change((marks) => withoutStrokes(marks, id ?? REST));
  },
};

function openDrawer(side) {
  document.body.dataset.drawer = side;
  for (const name of ["left", "right"]) $(`show-${name}`).setAttribute("aria-expanded", name === side);
}

function closeDrawers() {
  openDrawer("");
}

function listenToControls() {
  const buttons = ["undo", "redo", "previous", "next", "unlabelled", "propose", "fit", "help"];
  for (const id of buttons) $(id).addEventListener("click", () => actions[id]());
  $("copy-previous").addEventListener("click", actions.copyPrevious);
  $("hidden-masks").addEventListener("click", actions.masks);
  $("message-close").addEventListener("click", () => showMessage(""));
  $("remove-strokes").addEventListener("click", actions.removeStrokes);
  $("status").addEventListener("change", () => session.setStatus($("status").value));
  for (const side of ["left", "right"]) {
    $(`show-${side}`).addEventListener("click", () => (
      openDrawer(document.body.dataset.drawer === side ? "" : side)));
  }
  $("stage").addEventListener("pointerdown", closeDrawers);
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => chooseTool(button.dataset.tool));
  }
  $("draw").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...document.querySelectorAll("[data-tool]")];
    const next = all[(all.findIndex((b) => b.dataset.tool === tool) + step + all.length) % all.length];
    chooseTool(next.dataset.tool);
    next.focus();
  });
  for (const id of ["cue", "assigner"]) {
    $(id).addEventListener("change", () => {
      chosen();
      keepSettings(how());
      if (session.clicks) masks.load();
    });
  }
  window.addEventListener("beforeunload", (event) => session.unsaved && event.preventDefault());
  $("opacity").addEventListener("input", () => {
    keepSettings({ opacity: $("opacity").value });
    refresh();
  });
  $("theme").addEventListener("change", () => {
    keepSettings({ theme: $("theme").value });
    document.documentElement.dataset.theme = $("theme").value;
  });
  $("new-category").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = $("category-name").value.trim();
    session.changeCategories(async () => {
      const all = await api.addCategory(name, Number($("category-kind").value));
      $("category-name").value = "";
      $("canvas").focus({ preventScroll: true });
      return all;
    }, (all) => all.at(-1));
  });
}

function chosen() {
  $("assigner").disabled = $("cue").value === "checkpoint"; // it brings its own
  if (session.images.length) remember();
}

// All that is on offer now; what is chosen stays.
function offerCues(names) {
  const now = $("cue").value;
  fillSelect($("cue"), names);
  $("cue").value = now || names[0];
  $("propose").hidden = !names.includes("checkpoint");
}

// What was chosen the last time, as far as it is still on offer.
function restore(state) {
  offerCues(state.cues);
  fillSelect($("assigner"), state.assigners);
  fillSelect($("format"), state.formats);
  const place = readPlace();
  const among = (values, ...wanted) => wanted.find((value) => values.includes(value)) || values[0];
  $("cue").value = among(state.cues, place.cue, settings.cue);
  $("assigner").value = among(state.assigners, place.assigner, settings.assigner);
  $("opacity").value = settings.opacity ?? 50;
  $("theme").value = settings.theme || "";
  document.documentElement.dataset.theme = settings.theme || "";
  $("folder").textContent = `clicks: ${state.file}`;
  $("notes").replaceChildren(...state.notes.map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  }));
  const at = session.images.findIndex((image) => image.name === place.picture);
  const empty = session.images.findIndex(FILTERS["without clicks"]);
  return at >= 0 ? at : Math.max(0, empty);
}

const pointers = listenToPointers(view, () => tool, act);
fillSelect($("status-filter"), Object.keys(FILTERS));
listenToKeys($("canvas"), actions);
listenToControls();
listenToExports(session, how);
listenToTraining({ cues: offerCues });
chooseTool("click");
session.run(async () => {
  const state = await session.load();
  pictures.show(session.images);
  const first = restore(state);
  chosen();
  pictures.showProgress();
  setTimeout(() => session.open(first));
});
