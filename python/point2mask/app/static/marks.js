// Changes of a picture's marks, as pure functions.
// Marks are { targets, rest, strokes }: clicks on targets, clicks on nothing, and corrections by hand.
// Every change is { marks, id, point } with what is then selected, as before without an id; or null for none.

import { between } from "./frames.js";

export const REST = 0; // the "target" of clicks that belong to nobody

const pixel = ([x, y]) => `${Math.floor(x)},${Math.floor(y)}`;
const copy = (marks) => structuredClone(marks);
const freshId = (targets) => Math.max(0, ...targets.map((t) => t.id)) + 1;

export const pointsOf = (marks, id) => (
  id === REST ? marks.rest : marks.targets.find((t) => t.id === id)?.points);

// Whose click lies in the pixel of a point, and its index; null where there is none. As other changes may
// come first, this is how a click is known when its turn comes.
function clickIn(marks, point) {
  for (const id of [REST, ...marks.targets.map((t) => t.id)]) {
    const index = pointsOf(marks, id).findIndex((p) => pixel(p) === pixel(point));
    if (index >= 0) return { id, index };
  }
  return null;
}

// A click grows `id`, or the stuff that is there already, or makes a new target.
export function withClick(marks, point, category, id = null) {
  if (clickIn(marks, point)) return null; // one click a pixel
  const after = copy(marks);
  if (id === REST) {
    after.rest.push(point);
    return { marks: after, id: REST, point: after.rest.length - 1 };
  }
  const grown = after.targets.find((t) => (id === null
    ? !category.isthing && t.category_id === category.id
    : t.id === id));
  if (grown) {
    grown.points.push(point);
    return { marks: after, id: grown.id, point: grown.points.length - 1 };
  }
  const fresh = freshId(after.targets);
  after.targets.push({ id: fresh, category_id: category.id, iscrowd: 0, points: [point] });
  return { marks: after, id: fresh, point: 0 };
}

// Targets that somebody else has found, as far as nothing is where they are.
export function withTargets(marks, found, categories) {
  const after = copy(marks);
  for (const target of found) {
    const { isthing } = categories.find((c) => c.id === target.category_id);
    const there = !isthing && after.targets.some((t) => t.category_id === target.category_id);
    if (there || target.points.some((point) => clickIn(after, point))) continue;
    after.targets.push({ ...target, id: freshId(after.targets) });
  }
  return { marks: after, id: null, point: null };
}

// The rough size of a target, in pixels: given about one of its clicks it is the whole target's, about a new one that of another
// region, which stuff may have several of; null takes it away, about a click that is there.
export function withSize(marks, { click, point }, area, category) {
  const there = click && clickIn(marks, [click.x, click.y]);
  if (click && !there) return null;
  const made = there
    ? { marks: copy(marks), id: there.id, point: there.index } : withClick(marks, point, category);
  const target = made?.marks.targets.find((t) => t.id === made.id);
  if (!target || (area === null && there && target.area === undefined)) return null;
  if (area !== null) target.area = area + (there ? 0 : target.area ?? 0);
  else if (there) delete target.area;
  return made;
}

// The click in the pixel of `from`.
export function withMoved(marks, from, point) {
  const click = clickIn(marks, from);
  if (!click || (clickIn(marks, point) && pixel(from) !== pixel(point))) return null;
  const after = copy(marks);
  pointsOf(after, click.id)[click.index] = point;
  return { marks: after, id: click.id, point: click.index };
}

// The click in the pixel of a point. A target without clicks is none.
export function withoutClick(marks, point) {
  const click = clickIn(marks, point);
  if (!click) return null;
  const after = copy(marks);
  const { id, index } = click;
  const points = pointsOf(after, id);
  points.splice(index, 1);
  if (points.length) return { marks: after, id, point: points.length - 1 };
  return id === REST ? { marks: after, id: null, point: null } : withoutTarget(marks, id);
}

export function withoutTarget(marks, id) {
  const after = copy(marks);
  if (id === REST) after.rest = [];
  after.targets = after.targets.filter((t) => t.id !== id);
  if (id !== REST) after.strokes = after.strokes.filter((s) => s.segment_id !== id);
  return { marks: after, id: null, point: null };
}

// There is one target of a category of stuff: the clicks of another join it.
export function withCategory(marks, id, category) {
  const after = copy(marks);
  const target = after.targets.find((t) => t.id === id);
  if (!target || target.category_id === category.id) return null;
  const there = category.isthing
    ? null : after.targets.find((t) => t.category_id === category.id);
  if (!there) {
    target.category_id = category.id;
    return { marks: after, id, point: 0 };
  }
  there.points.push(...target.points);
  if (target.area === undefined) delete there.area;
  else if (there.area !== undefined) there.area += target.area;
  for (const stroke of after.strokes) {
    if (stroke.segment_id === id) stroke.segment_id = there.id;
  }
  after.targets = after.targets.filter((t) => t.id !== id);
  return { marks: after, id: there.id, point: there.points.length - 1 };
}

// A stroke or polygon for `id` (REST: nobody); with none it begins a new target, clicked at `inside`.
export function withStroke(marks, stroke, id, category, inside) {
  let after = copy(marks);
  let made = { id, point: null };
  if (id === null) {
    const begun = withClick(after, inside, category);
    if (!begun) return null;
    after = begun.marks;
    made = begun;
  }
  after.strokes.push({ ...stroke, segment_id: made.id });
  return made.id === REST ? { marks: after } : { marks: after, id: made.id, point: 0 };
}

export function withoutStrokes(marks, id) {
  const after = copy(marks);
  after.strokes = after.strokes.filter((s) => s.segment_id !== id);
  return after.strokes.length === marks.strokes.length ? null : { marks: after, id, point: 0 };
}

// The marks of one picture on another: all in proportion as they are shown, and at most one click a pixel.
export function scaled(marks, from, to) {
  const matrix = between(from, to);
  const move = ([x, y]) => {
    const at = matrix.transformPoint({ x, y });
    const inside = (value, length) => Math.min(Math.max(value, 0), length - 0.01);
    return [inside(at.x, to.width), inside(at.y, to.height)];
  };
  const larger = Math.abs(matrix.a * matrix.d - matrix.b * matrix.c);
  const seen = new Set();
  const free = (points) => points.map(move).filter((p) => !seen.has(pixel(p)) && seen.add(pixel(p)));
  const targets = marks.targets
    .map((t) => ({
      ...t, points: free(t.points), ...(t.area && { area: t.area * larger }),
    }))
    .filter((t) => t.points.length);
  return { targets, rest: free(marks.rest), strokes: [] };
}

// A point inside a polygon: the middle of the widest piece of a horizontal line through it.
export function insidePoint(points) {
  const rows = points.map(([, y]) => y);
  const low = Math.min(...rows), high = Math.max(...rows);
  let best = { width: -1, at: points[0] };
  for (let step = 1; step < 16; step++) {
    const y = low + ((high - low) * step) / 16;
    const cuts = points.flatMap(([x1, y1], i) => {
      const [x2, y2] = points[(i + 1) % points.length];
      return (y1 <= y) !== (y2 <= y) ? [x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)] : [];
    }).sort((a, b) => a - b);
    for (let i = 0; i + 1 < cuts.length; i += 2) {
      if (cuts[i + 1] - cuts[i] > best.width) {
        best = { width: cuts[i + 1] - cuts[i], at: [(cuts[i] + cuts[i + 1]) / 2, y] };
      }
    }
  }
  return best.at.map((value) => Math.floor(value * 100) / 100);
}
