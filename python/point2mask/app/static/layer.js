// Masks to what the view paints: a tinted canvas and smooth outlines, both at the size of the masks.

// The lines between pixels of different ids, cut across corners: marching squares of many labels.
// With `only`, the lines around that id.
export function outlines({ width, height, ids }, only = null) {
  const path = new Path2D();
  const at = only === null ? (i) => ids[i] : (i) => (ids[i] === only ? 1 : 0);
  for (let y = 0; y + 1 < height; y++) {
    for (let x = 0, i = y * width; x + 1 < width; x++, i++) {
      const a = at(i), b = at(i + 1), c = at(i + width), d = at(i + width + 1);
      if (a === b && a === c && a === d) continue;
      // Middles of the sides whose ends differ, between the centres of four pixels.
      const cut = [];
      if (a !== b) cut.push([x + 1, y + 0.5]);
      if (a !== c) cut.push([x + 0.5, y + 1]);
      if (b !== d) cut.push([x + 1.5, y + 1]);
      if (c !== d) cut.push([x + 1, y + 1.5]);
      if (cut.length === 2) {
        path.moveTo(...cut[0]);
        path.lineTo(...cut[1]);
      } else {
        for (const point of cut) {
          path.moveTo(...point);
          path.lineTo(x + 1, y + 1);
        }
      }
    }
  }
  return path;
}

// Pixels of every id: { id: count }.
export function areas({ ids }) {
  const counts = {};
  for (let i = 0, from = 0; i < ids.length; i++) {
    if (i + 1 < ids.length && ids[i + 1] === ids[i]) continue;
    counts[ids[i]] = (counts[ids[i]] || 0) + i + 1 - from;
    from = i + 1;
  }
  return counts;
}

// Colours { id: [r, g, b] }; with an `emphasised` id the others are faint and it has a line of its own.
export function makeLayer(masks, colors, emphasised = null, earlier = null) {
  const { width, height, ids } = masks;
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const packed = new Uint32Array(image.data.buffer);
  const little = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
  const pack = ([r, g, b], a) => (little ? (a << 24) | (b << 16) | (g << 8) | r
    : (r << 24) | (g << 16) | (b << 8) | a) >>> 0;
  const shown = emphasised !== null && ids.includes(emphasised);
  const table = new Map(Object.entries(colors).map(([id, color]) => (
    [Number(id), pack(color, shown && Number(id) !== emphasised ? 190 : 255)])));
  let last = -1;
  let color = 0;
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] !== last) {
      last = ids[i];
      color = table.get(last) || 0;
    }
    packed[i] = color;
  }
  context.putImageData(image, 0, 0);
  return {
    canvas, width, height, masks,
    outlines: earlier?.masks === masks ? earlier.outlines : outlines(masks),
    highlight: shown ? outlines(masks, emphasised) : null,
  };
}

// The id under a point of a picture of a size, 0 for nobody.
export function idAt(masks, [x, y], { width, height }) {
  const column = Math.min(masks.width - 1, Math.floor((x * masks.width) / width));
  const row = Math.min(masks.height - 1, Math.floor((y * masks.height) / height));
  return masks.ids[row * masks.width + column];
}
