// Corrections by hand: brush, eraser and polygon.

import { REST_COLOR } from "./colors.js";
import { insidePoint, REST, withStroke } from "./marks.js";

// session, view; tool: () => its name; color: (id or null for a new target) => [r, g, b];
// width: () => of the brush on the screen; needCategory: says that there is none; say: shows a message.
export function strokes(session, view, { tool, color, width, needCategory, say }) {
  // Who is painted: null is a new target.
  const painted = () => (session.selected.id === REST ? null : session.selected.id);
  const nobody = () => painted() === null && !session.category;
  const brushRadius = () => width() / 2 / view.scale * (window.devicePixelRatio || 1);

  // For whom it is says the selection when its turn comes: the change before it may make a target.
  function add(stroke, inside, erased = false) {
    const { category } = session;
    session.change((marks) => {
      const id = erased ? REST : painted();
      if (id === null && !category) return needCategory();
      return withStroke(marks, stroke, id, category, inside)
        || say("nothing was drawn: a new target would begin on a click that is there; select its target, or begin elsewhere");
    });
  }

  function startStroke(point) {
    const erasing = tool() === "eraser";
    if (!erasing && nobody()) {
      needCategory();
      return null;
    }
    return {
      points: [point], radius: brushRadius(), erasing,
      color: erasing ? REST_COLOR : color(painted()),
    };
  }

  function endStroke(draft) {
    if (!draft) return;
    const stroke = { shape: "line", radius: Math.max(0.5, draft.radius), points: thinned(draft) };
    add(stroke, draft.points[0], draft.erasing);
  }

  function addCorner(point) {
    if (nobody()) return needCategory();
    view.draft = view.draft || { points: [], polygon: true, color: color(painted()) };
    view.draft.points.push(point);
    view.draw();
  }

  // While a polygon is drawn its last corner is what was done last. Whether there was one.
  function removeCorner() {
    if (!view.draft?.polygon) return false;
    view.draft.points.pop();
    if (!view.draft.points.length) view.draft = null;
    view.draw();
    return true;
  }

  function endPolygon() {
    const points = view.draft?.points || [];
    view.draft = null;
    view.draw();
    if (points.length < 3) return;
    add({ shape: "polygon", radius: 0, points }, insidePoint(points));
  }

  // Enter sets a corner at the crosshair; once more at the same place it ends the polygon.
  function cornerAtCrosshair() {
    const { crosshair, draft } = view;
    if (draft?.points.length > 2 && String(draft.points.at(-1)) === String(crosshair)) endPolygon();
    else addCorner(crosshair);
  }

  return {
    brushRadius, startStroke, endStroke, addCorner, removeCorner, endPolygon, cornerAtCrosshair,
  };
}

// A stroke without the points that its width hides.
function thinned({ points, radius }) {
  const kept = [points[0]];
  for (const point of points) {
    const [x, y] = kept.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) > radius / 4) kept.push(point);
  }
  return kept;
}
