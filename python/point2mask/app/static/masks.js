// Masks of the open picture: asked for after every change, the next pictures prepared meanwhile.

import * as api from "./api.js";
import { areas, idAt, makeLayer } from "./layer.js";

const IDLE = 400; // milliseconds without a change until the next pictures are prepared
const AHEAD = 2;

export class MaskLoader {
  // how: () => the chosen cue and assigner; colors: () => { id: color }.
  constructor(session, view, how, colors, on) {
    Object.assign(this, { session, view, how, colors, on });
    this.masks = null;
    this.shares = {};
    this.pending = null; // an AbortController of the masks that are on their way
    this.timer = 0;
    this.warmed = "";
  }

  stop() {
    this.pending?.abort();
    clearTimeout(this.timer);
    this.set(null);
  }

  set(masks) {
    this.masks = masks;
    this.shares = {};
    if (masks) {
      const counts = areas(masks);
      for (const id of Object.keys(counts)) this.shares[id] = counts[id] / masks.ids.length;
    }
    this.tint();
  }

  // Anew where what is emphasised or a colour has changed.
  tint() {
    const { session, view, masks } = this;
    if (!masks) return view.setLayer(null);
    const emphasised = session.hovered ?? session.selected.id;
    view.setLayer(makeLayer(masks, this.colors(), emphasised || null, view.layer));
  }

  at(point) {
    const { masks, view } = this;
    return masks && point ? idAt(masks, point, view.picture) : 0;
  }

  async load() {
    const { session } = this;
    this.pending?.abort();
    clearTimeout(this.timer);
    const mine = (this.pending = new AbortController());
    const { index, clicks } = session;
    const canvas = this.view.canvas;
    const shown = `${index}/${clicks.revision}`;
    canvas.dataset.masks = "waiting";
    if (!clicks.segments_info.length) {
      this.set(null);
      this.on.loaded("");
      canvas.dataset.masks = shown;
      this.warm(index);
      return;
    }
    const start = performance.now();
    try {
      const masks = await api.readMasks(index, clicks.revision, this.how(), mine.signal);
      if (mine.signal.aborted) return;
      this.set(masks);
      this.on.loaded(`masks in ${Math.round(performance.now() - start)} ms`);
      this.view.paint();
      canvas.dataset.masks = shown;
      this.timer = setTimeout(() => this.prepareNext(), IDLE);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error.status === 409) return this.on.outdated();
      this.set(null);
      this.on.failed(error.message);
    }
  }

  async prepareNext() {
    const { index, images } = this.session;
    for (let next = index + 1; next <= Math.min(index + AHEAD, images.length - 1); next++) {
      if (this.session.index === index) await this.warm(next);
    }
  }

  // What does not depend on clicks, while the user still looks.
  async warm(index) {
    const how = this.how();
    const what = JSON.stringify([index, how]);
    if (what === this.warmed) return;
    this.warmed = what;
    await api.warm(index, how).catch(() => {}); // opening the picture says what is wrong with it
  }
}
