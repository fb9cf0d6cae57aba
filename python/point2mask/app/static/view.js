// The canvas: picture, masks, clicks and strokes, and where the pointer is on the picture.
// Everything is kept in the pixels of the stored file; one matrix turns them upright and onto the screen.

import { shownSize, turned } from "./frames.js";

const RADIUS = 7; // of a click, in pixels of the screen
const MARGIN = 0.96; // of the canvas that a fitted picture fills
const HIGHLIGHT = "#ffe14d";

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.picture = null;
    this.layer = null; // of masks: { canvas, outlines, highlight, width, height }
    this.clicks = []; // { x, y, color, selected, hovered, target, point }
    this.sizes = []; // rough sizes of targets: { x, y, radius in pixels of the picture, color, selected }
    this.strokes = []; // { points, radius, polygon, color }
    this.draft = null; // the stroke, polygon or circle that is being drawn
    this.crosshair = null; // [x, y] on the picture, moved by keys
    this.brush = null; // { at: event place, radius in pixels of the picture }
    this.opacity = 0.5;
    this.turn = new DOMMatrix();
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.fitted = true;
    this.asked = 0;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (this.fitted) this.fit();
    else this.paint();
  }

  show(picture, orientation = 1) {
    this.picture = picture;
    this.layer = null;
    this.draft = null;
    this.crosshair = null;
    if (!picture) return this.draw();
    const { width, height } = picture;
    this.turn = turned({ orientation, width, height });
    [this.width, this.height] = shownSize({ orientation, width, height }); // upright
    this.fit();
  }

  setLayer(layer) {
    this.layer = layer;
    this.draw();
  }

  fitScale() {
    return MARGIN * Math.min(this.canvas.width / this.width, this.canvas.height / this.height);
  }

  fit() {
    if (!this.picture) return;
    this.scale = this.fitScale();
    this.left = (this.canvas.width - this.width * this.scale) / 2;
    this.top = (this.canvas.height - this.height * this.scale) / 2;
    this.fitted = true;
    this.paint();
  }

  // Around a place of the canvas, its middle by default; not below half of what fits.
  zoom(factor, at = { x: this.canvas.width / 2, y: this.canvas.height / 2 }) {
    if (!this.picture) return;
    const least = Math.min(1, this.fitScale() / 2);
    const scale = Math.min(64, Math.max(least, this.scale * factor));
    this.left = at.x - ((at.x - this.left) * scale) / this.scale;
    this.top = at.y - ((at.y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.moved();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.moved();
  }

  // At least a strip of the picture stays in sight.
  moved() {
    const strip = 40 * (window.devicePixelRatio || 1);
    const clamp = (at, size, room) => Math.min(room - strip, Math.max(strip - size, at));
    this.left = clamp(this.left, this.width * this.scale, this.canvas.width);
    this.top = clamp(this.top, this.height * this.scale, this.canvas.height);
    this.fitted = false;
    this.draw();
  }

  matrix() {
    return new DOMMatrix([this.scale, 0, 0, this.scale, this.left, this.top]).multiply(this.turn);
  }

  // A pointer event's place on the canvas, in its own pixels.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  }

  // The same on the picture as stored; null outside unless it is to be moved inside.
  onPicture(event, inside = false) {
    if (!this.picture) return null;
    const { width, height } = this.picture;
    const at = this.place(event);
    let { x, y } = this.matrix().inverse().transformPoint(at);
    if (inside) {
      x = Math.min(Math.max(x, 0), width - 0.01);
      y = Math.min(Math.max(y, 0), height - 0.01);
    } else if (x < 0 || y < 0 || x >= width || y >= height) {
      return null;
    }
    return [Math.floor(x * 100) / 100, Math.floor(y * 100) / 100];
  }

  onCanvas([x, y]) {
    const { x: u, y: v } = this.matrix().transformPoint({ x, y });
    return [u, v];
  }

  // Moves the crosshair by pixels of the screen; it starts in the middle of the canvas.
  moveCrosshair(dx, dy) {
    if (!this.picture) return;
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [x, y] = this.crosshair
      ? this.onCanvas(this.crosshair) : [canvas.width / 2, canvas.height / 2];
    const box = canvas.getBoundingClientRect();
    const clientX = box.left + (x + dx * ratio) * (box.width / canvas.width);
    const clientY = box.top + (y + dy * ratio) * (box.height / canvas.height);
    this.crosshair = this.onPicture({ clientX, clientY }, true);
    const [u, v] = this.onCanvas(this.crosshair);
    const edge = 30 * ratio;
    const out = (at, room) => Math.min(0, room - edge - at) + Math.max(0, edge - at);
    if (!this.fitted) this.pan(out(u, canvas.width), out(v, canvas.height));
    else this.draw();
  }

  // The click under the pointer, the last drawn first; a finger reaches further.
  clickAt(event) {
    return this.clickNear(this.place(event), event.pointerType === "touch" ? 10 : 3);
  }

  // The same at a place of the canvas, with some slack in pixels of the screen.
  clickNear(at, slack = 3) {
    const reach = (RADIUS + slack) * (window.devicePixelRatio || 1);
    for (let i = this.clicks.length - 1; i >= 0; i--) {
      const [x, y] = this.onCanvas([this.clicks[i].x, this.clicks[i].y]);
      if (Math.hypot(x - at.x, y - at.y) <= reach) return this.clicks[i];
    }
    return null;
  }

  // Once a frame, however often it is asked for.
  draw() {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => this.paint());
  }

  paint() {
    cancelAnimationFrame(this.asked);
    this.asked = 0;
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.picture) return;
    const ratio = window.devicePixelRatio || 1;
    const matrix = this.matrix();
    context.setTransform(matrix);
    context.imageSmoothingEnabled = this.scale < 2;
    context.drawImage(this.picture, 0, 0);
    if (this.layer && this.opacity > 0) this.paintMasks(matrix, ratio);
    context.setTransform(1, 0, 0, 1, 0, 0);
    for (const size of this.sizes) this.paintSize(size, ratio);
    if (this.draft?.circle) this.paintSize({ ...this.draft, selected: true }, ratio);
    else if (this.draft) this.paintDraft(this.draft, ratio);
    for (const click of this.clicks) this.paintClick(click, ratio);
    if (this.brush) this.paintBrush(ratio);
    if (this.crosshair) this.paintCrosshair(ratio);
  }

  paintMasks(matrix, ratio) {
    const { context, layer } = this;
    const { width, height } = this.picture;
    context.globalAlpha = this.opacity;
    context.imageSmoothingEnabled = true;
    context.drawImage(layer.canvas, 0, 0, width, height);
    const across = width / layer.width;
    context.setTransform(matrix.scale(across, height / layer.height));
    context.globalAlpha = Math.min(1, this.opacity + 0.35);
    const pen = ratio / (this.scale * across);
    context.lineJoin = "round";
    context.lineWidth = 1.5 * pen;
    context.strokeStyle = "#fff";
    context.stroke(layer.outlines);
    if (layer.highlight) {
      context.globalAlpha = 1;
      context.lineWidth = 5 * pen;
      context.strokeStyle = "#000a";
      context.stroke(layer.highlight);
      context.lineWidth = 2.5 * pen;
      context.strokeStyle = HIGHLIGHT;
      context.stroke(layer.highlight);
    }
    context.globalAlpha = 1;
  }

  paintClick(click, ratio) {
    const { context } = this;
    const [x, y] = this.onCanvas([click.x, click.y]);
    const radius = (click.selected || click.hovered ? RADIUS + 2 : RADIUS) * ratio;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = `rgb(${click.color.join(",")})`;
    context.fill();
    context.lineWidth = 4 * ratio;
    context.strokeStyle = "#000";
    context.stroke();
    context.lineWidth = 2 * ratio;
    context.strokeStyle = click.selected ? HIGHLIGHT : "#fff";
    context.stroke();
    if (click.target !== 0) return;
    const arm = 0.45 * radius; // a cross: nothing is here
    context.beginPath();
    context.moveTo(x - arm, y - arm);
    context.lineTo(x + arm, y + arm);
    context.moveTo(x + arm, y - arm);
    context.lineTo(x - arm, y + arm);
    context.stroke();
  }

  paintSize({ x, y, radius, color, selected }, ratio) {
    const { context } = this;
    context.beginPath();
    context.arc(...this.onCanvas([x, y]), radius * this.scale, 0, 2 * Math.PI);
    context.lineWidth = (selected ? 4 : 3) * ratio;
    context.strokeStyle = "#000a";
    context.stroke();
    context.setLineDash([6 * ratio, 5 * ratio]);
    context.lineWidth = (selected ? 2.5 : 1.5) * ratio;
    context.strokeStyle = selected ? HIGHLIGHT : `rgb(${color.join(",")})`;
    context.stroke();
    context.setLineDash([]);
  }

  paintDraft({ points, radius, polygon, color }, ratio) {
    const { context } = this;
    context.beginPath();
    points.forEach((point, i) => context[i ? "lineTo" : "moveTo"](...this.onCanvas(point)));
    context.lineCap = context.lineJoin = "round";
    if (polygon) {
      context.fillStyle = `rgba(${color.join(",")},.4)`;
      context.fill();
    } else {
      if (points.length === 1) context.lineTo(...this.onCanvas(points[0]));
      context.globalAlpha = 0.6;
      context.lineWidth = 2 * radius * this.scale;
      context.strokeStyle = `rgb(${color.join(",")})`;
      context.stroke();
      context.globalAlpha = 1;
      return;
    }
    context.lineWidth = 2 * ratio;
    context.strokeStyle = HIGHLIGHT;
    context.stroke();
    const [x, y] = this.onCanvas(points[0]); // where a click closes it
    context.strokeRect(x - 4 * ratio, y - 4 * ratio, 8 * ratio, 8 * ratio);
  }

  paintBrush(ratio) {
    const { context } = this;
    context.beginPath();
    context.arc(this.brush.at.x, this.brush.at.y, Math.max(2, this.brush.radius * this.scale), 0, 7);
    context.lineWidth = 1.5 * ratio;
    context.strokeStyle = "#fff";
    context.stroke();
    context.setLineDash([4 * ratio, 4 * ratio]);
    context.strokeStyle = "#000";
    context.stroke();
    context.setLineDash([]);
  }

  paintCrosshair(ratio) {
    const { context } = this;
    const [x, y] = this.onCanvas(this.crosshair);
    for (const [color, width] of [["#000", 4], ["#fff", 1.5]]) {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 4 * ratio * dx, y + 4 * ratio * dy);
        context.lineTo(x + 20 * ratio * dx, y + 20 * ratio * dy);
      }
      context.lineWidth = width * ratio;
      context.strokeStyle = color;
      context.stroke();
    }
  }
}
