// Colours of targets: a category's own, and a hue an instance for the second thing of it and the next.

export const REST_COLOR = [90, 90, 90];
const GOLDEN = 0.61803398875; // of the circle: no two of few hues are close

export function targetColors(targets, categories) {
  const seen = new Map();
  const colors = {};
  for (const target of targets) {
    const category = categories.find((c) => c.id === target.category_id);
    const number = seen.get(category.id) || 0;
    seen.set(category.id, number + 1);
    colors[target.id] = category.isthing ? instanceColor(category.color, number) : category.color;
  }
  return colors;
}

function instanceColor(color, number) {
  if (!number) return color;
  const [hue, saturation, light] = toHsl(color);
  const lights = [0, -0.14, 0.14];
  return toRgb(
    (hue + number * GOLDEN) % 1, Math.max(0.55, saturation),
    Math.min(0.7, Math.max(0.32, light + lights[number % 3])));
}

function toHsl(color) {
  const [r, g, b] = color.map((part) => part / 255);
  const high = Math.max(r, g, b), low = Math.min(r, g, b), range = high - low;
  const light = (high + low) / 2;
  if (!range) return [0, 0, light];
  const saturation = range / (1 - Math.abs(2 * light - 1));
  const hue = high === r ? ((g - b) / range + 6) % 6 : high === g ? (b - r) / range + 2 : (r - g) / range + 4;
  return [hue / 6, saturation, light];
}

function toRgb(hue, saturation, light) {
  const reach = saturation * Math.min(light, 1 - light);
  return [0, 8, 4].map((n) => {
    const k = (n + hue * 12) % 12;
    return Math.round(255 * (light - reach * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

export const css = (color) => `rgb(${color.join(",")})`;
export const hex = (color) => `#${color.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
export const fromHex = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
