// Changes of a picture's targets, as pure functions of the list, and the colours of targets.

const copy = (targets) => structuredClone(targets);
const pixel = ([x, y]) => `${Math.floor(x)},${Math.floor(y)}`;

export function owner(targets, point) {
  return targets.find((t) => t.points.some((p) => pixel(p) === pixel(point)));
}

// A click grows `id`, or the stuff that is there already, or makes a new target.
export function withClick(targets, point, category, id = null) {
  if (owner(targets, point)) return null; // one click a pixel
  const list = copy(targets);
  const grown = list.find((t) => (id === null
    ? !category.isthing && t.category_id === category.id
    : t.id === id));
  if (grown) {
    grown.points.push(point);
    return { list, id: grown.id, point: grown.points.length - 1 };
  }
  const fresh = Math.max(0, ...list.map((t) => t.id)) + 1;
  list.push({ id: fresh, category_id: category.id, iscrowd: 0, points: [point] });
  return { list, id: fresh, point: 0 };
}

export function withMoved(targets, id, index, point) {
  const list = copy(targets);
  const target = list.find((t) => t.id === id);
  const there = owner(list, point);
  if (!target || (there && pixel(target.points[index]) !== pixel(point))) return null;
  target.points[index] = point;
  return { list, id, point: index };
}

// A target without clicks is none.
export function withoutClick(targets, id, index) {
  const list = copy(targets);
  const target = list.find((t) => t.id === id);
  if (!target) return null;
  target.points.splice(index, 1);
  if (target.points.length) return { list, id, point: target.points.length - 1 };
  return withoutTarget(list, id);
}

export function withoutTarget(targets, id) {
  return { list: copy(targets).filter((t) => t.id !== id), id: null, point: null };
}

export function withCategory(targets, id, category) {
  const list = copy(targets);
  const target = list.find((t) => t.id === id);
  if (!target || target.category_id === category.id) return null;
  target.category_id = category.id;
  return { list, id, point: 0 };
}

// Its category's colour, varied for the second thing of a category and the next.
export function targetColors(targets, categories) {
  const seen = new Map();
  const colors = {};
  for (const target of targets) {
    const category = categories.find((c) => c.id === target.category_id);
    const number = seen.get(category.id) || 0;
    seen.set(category.id, number + 1);
    colors[target.id] = category.isthing ? vary(category.color, number) : category.color;
  }
  return colors;
}

function vary(color, number) {
  if (!number) return color;
  const steps = [0.755, 0.57, 0.43];
  return color.map((part, i) => {
    const shift = 70 * (2 * ((number * steps[i]) % 1) - 1);
    return Math.round(Math.min(235, Math.max(20, part + shift)));
  });
}
