// The canvas: picture, masks and clicks, and where the mouse is on the picture.

const RADIUS = 7; // of a click, in pixels of the screen

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.picture = null;
    this.tint = document.createElement("canvas");
    this.tinted = false;
    this.clicks = []; // { x, y, color, selected, target, point }
    this.opacity = 0.5;
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.fitted = true;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (this.fitted) this.fit();
    else this.draw();
  }

  show(picture) {
    this.picture = picture;
    this.tinted = false;
    if (picture) this.fit();
    else this.draw();
  }

  // Colours { id: [r, g, b] }; pixels beside another target's are the contour.
  setMasks(masks, colors) {
    const { width, height, ids } = masks;
    this.tint.width = width;
    this.tint.height = height;
    const context = this.tint.getContext("2d");
    const image = context.createImageData(width, height);
    const packed = new Uint32Array(image.data.buffer);
    const little = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
    const pack = ([r, g, b], a) => (little ? (a << 24) | (b << 16) | (g << 8) | r
      : (r << 24) | (g << 16) | (b << 8) | a) >>> 0;
    const table = new Map(Object.entries(colors).map(([id, c]) => [Number(id), pack(c, 255)]));
    const white = pack([255, 255, 255], 255);
    let last = -1;
    let color = 0;
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const id = ids[i];
        if (id !== last) {
          last = id;
          color = table.get(id) || 0;
        }
        const border = (x + 1 < width && ids[i + 1] !== id) || (y + 1 < height && ids[i + width] !== id);
        packed[i] = border ? white : color;
      }
    }
    context.putImageData(image, 0, 0);
    this.tinted = true;
    this.draw();
  }

  clearMasks() {
    this.tinted = false;
    this.draw();
  }

  fit() {
    if (!this.picture) return;
    const margin = 0.96;
    const { width, height } = this.picture;
    this.scale = margin * Math.min(this.canvas.width / width, this.canvas.height / height);
    this.left = (this.canvas.width - width * this.scale) / 2;
    this.top = (this.canvas.height - height * this.scale) / 2;
    this.fitted = true;
    this.draw();
  }

  // Around a place of the canvas, its middle by default.
  zoom(factor, at = { x: this.canvas.width / 2, y: this.canvas.height / 2 }) {
    const scale = Math.min(64, Math.max(0.02, this.scale * factor));
    this.left = at.x - ((at.x - this.left) * scale) / this.scale;
    this.top = at.y - ((at.y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.fitted = false;
    this.draw();
  }

  // A mouse event's place on the canvas, in its own pixels.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const ratio = this.canvas.width / box.width;
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  }

  // The same on the picture; null outside unless it is to be moved inside.
  onPicture(event, inside = false) {
    if (!this.picture) return null;
    const { width, height } = this.picture;
    const at = this.place(event);
    let x = (at.x - this.left) / this.scale;
    let y = (at.y - this.top) / this.scale;
    if (inside) {
      x = Math.min(Math.max(x, 0), width - 0.01);
      y = Math.min(Math.max(y, 0), height - 0.01);
    } else if (x < 0 || y < 0 || x >= width || y >= height) {
      return null;
    }
    return [Math.floor(x * 100) / 100, Math.floor(y * 100) / 100];
  }

  // The click under the mouse, the last drawn first.
  clickAt(event) {
    const at = this.place(event);
    const reach = (RADIUS + 3) * (window.devicePixelRatio || 1);
    for (let i = this.clicks.length - 1; i >= 0; i--) {
      const [x, y] = this.onCanvas(this.clicks[i]);
      if (Math.hypot(x - at.x, y - at.y) <= reach) return this.clicks[i];
    }
    return null;
  }

  onCanvas({ x, y }) {
    return [this.left + x * this.scale, this.top + y * this.scale];
  }

  draw() {
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.picture) return;
    const { width, height } = this.picture;
    const box = [this.left, this.top, width * this.scale, height * this.scale];
    context.imageSmoothingEnabled = this.scale < 2;
    context.drawImage(this.picture, ...box);
    if (this.tinted && this.opacity > 0) {
      context.globalAlpha = this.opacity;
      context.drawImage(this.tint, ...box);
      context.globalAlpha = 1;
    }
    const ratio = window.devicePixelRatio || 1;
    for (const click of this.clicks) {
      const [x, y] = this.onCanvas(click);
      const radius = (click.selected ? RADIUS + 2 : RADIUS) * ratio;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = `rgb(${click.color.join(",")})`;
      context.fill();
      context.lineWidth = 4 * ratio;
      context.strokeStyle = "#000";
      context.stroke();
      context.lineWidth = 2 * ratio;
      context.strokeStyle = click.selected ? "#ffe14d" : "#fff";
      context.stroke();
    }
  }
}
