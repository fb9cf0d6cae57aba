// Rough sizes of targets: circles that are dragged out about clicks, or stretched by the crosshair.

import { REST, withSize } from "./marks.js";

const LEAST = 4; // pixels of the screen: a smaller circle is none, and takes away the one that was there

// session, view; color: (id or null for a new target) => [r, g, b]; say: shows a message.
export function sizing(session, view, color, say) {
  // A circle about a click of the view, or about a new one.
  function startSize(click, point) {
    if (click?.target === REST) return say("what belongs to nothing has no size");
    if (!click && !session.category) return say("choose a category first, or make one (N)");
    const [x, y] = click ? [click.x, click.y] : point;
    if (click) session.select(click.target, click.point);
    view.draft = { circle: true, x, y, radius: 0, color: color(click?.target ?? null), click, point };
    view.draw();
    return view.draft;
  }

  // To a place of the canvas.
  function stretchSize(at) {
    if (!view.draft?.circle) return;
    const [x, y] = view.onCanvas([view.draft.x, view.draft.y]);
    view.draft.radius = Math.hypot(at.x - x, at.y - y) / view.scale;
    view.draw();
  }

  function endSize() {
    const { draft } = view;
    if (!draft?.circle) return;
    view.draft = null;
    view.draw();
    const { width, height } = view.picture;
    const none = draft.radius * view.scale < LEAST * (window.devicePixelRatio || 1);
    const area = none ? null
      : Math.min(width * height, Math.max(1, Math.round(Math.PI * draft.radius ** 2)));
    const { category } = session;
    session.change((marks) => withSize(marks, draft, area, category));
  }

  function followCrosshair() {
    if (!view.crosshair) return;
    const [x, y] = view.onCanvas(view.crosshair);
    stretchSize({ x, y });
  }

  // Enter begins a circle at the crosshair, arrows stretch it, Enter ends it.
  function sizeAtCrosshair() {
    if (view.draft) return endSize();
    const [x, y] = view.onCanvas(view.crosshair);
    startSize(view.clickNear({ x, y }), view.crosshair);
  }

  return { startSize, stretchSize, endSize, followCrosshair, sizeAtCrosshair };
}

// The circles of targets: about their first clicks, as large as they are said to be.
export function circles(targets, colors, selected) {
  return targets.filter(({ area }) => area).map(({ id, points: [[x, y]], area }) => ({
    x: Math.floor(x) + 0.5, y: Math.floor(y) + 0.5, radius: Math.sqrt(area / Math.PI),
    color: colors[id], selected: id === selected,
  }));
}
