// What the page knows: pictures, categories, the marks of the open picture and what is chosen.
// The server holds the truth; changes go to it one after the other.

import * as api from "./api.js";
import { REST } from "./marks.js";

const NONE = { id: null, point: null };

export class Session {
  // on: { shown(), opened(picture, clicks), marked(), message(text), saved(text, busy) }
  constructor(on) {
    this.on = on;
    this.images = [];
    this.categories = [];
    this.category = null;
    this.index = 0;
    this.clicks = null; // what the server says of the picture
    this.selected = NONE;
    this.choices = 0; // how often a person has chosen what is selected
    this.hovered = null;
    this.trail = { past: [], future: [] }; // "marks" or "categories", in the order of changes
    this.queue = Promise.resolve();
  }

  get marks() {
    const { segments_info: targets, rest, strokes } = this.clicks;
    return { targets, rest, strokes };
  }

  get image() {
    return this.images[this.index];
  }

  // Work on the server, after what was asked for before; a failure is shown.
  run(work) {
    this.queue = this.queue.then(work).catch((error) => {
      if (error.name !== "AbortError") this.on.message(error.message);
    });
    return this.queue;
  }

  // Work on the picture that is open now: refused where another one is open when its turn comes.
  runHere(work) {
    const { index } = this;
    return this.run(async () => {
      if (index === this.index) return work();
      this.on.shown();
      throw new Error(`nothing was changed: ${this.images[index].name} was open no more`);
    });
  }

  async load() {
    const state = await api.readState();
    this.images = state.images;
    this.categories = state.categories;
    this.category = this.categories[0] || null;
    return state;
  }

  open(index) {
    if (index < 0 || index >= this.images.length) return this.queue;
    return this.run(async () => {
      this.index = index;
      this.clicks = null;
      this.selected = NONE;
      this.hovered = null;
      this.trail = { past: [], future: [] };
      this.on.message("");
      this.on.opened(null, null);
      const [clicks, picture] = await Promise.all([api.readClicks(index), api.readPicture(index)]);
      this.on.opened(picture, clicks);
      this.take(clicks);
    });
  }

  take(clicks) {
    this.clicks = clicks;
    const there = this.selected.id === REST
      ? clicks.rest.length : clicks.segments_info.some((t) => t.id === this.selected.id);
    if (!there) this.selected = NONE;
    this.image.targets = clicks.segments_info.length;
    this.image.status = clicks.status;
    for (const category of this.categories) {
      category.targets = clicks.category_counts[category.id] || 0;
    }
    this.on.marked();
  }

  // `make` turns the marks into { marks, id, point }, or nothing for no change; it may take its time.
  change(make) {
    const { choices } = this;
    return this.runHere(async () => {
      if (!this.clicks) return;
      const made = await make(this.marks);
      if (!made) return this.on.shown();
      await this.save((clicks) => api.writeMarks(this.index, clicks, made.marks), () => {
        // What was chosen since the change was asked for stays.
        if (made.id !== undefined && choices === this.choices) {
          this.selected = { id: made.id, point: made.point };
        }
      });
      this.trail.past.push("marks");
      this.trail.future = [];
    });
  }

  // `then` follows unless the status is not saved.
  setStatus(status, then = () => {}) {
    return this.runHere(async () => {
      if (this.clicks) await this.save((clicks) => api.writeStatus(this.index, clicks, status));
      then();
    });
  }

  async save(work, then = () => {}) {
    this.on.saved("saving …", true);
    try {
      const answer = await this.again(work);
      then();
      this.on.message("");
      this.on.saved("saved", false);
      this.take(answer);
    } catch (error) {
      this.on.saved("not saved", true);
      this.on.shown();
      throw error;
    }
  }

  // Once more where the server has only forgotten the count of changes, as after a new start.
  async again(work) {
    try {
      return await work(this.clicks);
    } catch (error) {
      if (error.status !== 409) throw error;
      const fresh = await api.readClicks(this.index);
      const said = ({ name, segments_info, rest, strokes }) => (
        JSON.stringify([name, segments_info, rest, strokes]));
      if (said(fresh) === said(this.clicks) && fresh.revision !== this.clicks.revision) {
        return work(fresh);
      }
      if (fresh.name === this.clicks.name) this.take(fresh);
      throw error;
    }
  }

  // What was changed last, marks or categories.
  step(what) {
    return this.runHere(async () => {
      const [from, to] = what === "undo" ? ["past", "future"] : ["future", "past"];
      const kind = this.trail[from].at(-1) || "marks";
      if (kind === "categories") {
        const call = what === "undo" ? api.undoCategories : api.redoCategories;
        this.takeCategories(await call());
      } else if (this.clicks?.[what]) {
        await this.save((clicks) => api[what](this.index, clicks));
      } else {
        return;
      }
      this.trail[from].pop();
      this.trail[to].push(kind);
    });
  }

  can(what) {
    return Boolean(this.clicks?.[what])
      || this.trail[what === "undo" ? "past" : "future"].at(-1) === "categories";
  }

  changeCategories(work, choose = (all) => all.find((c) => c.id === this.category?.id)) {
    return this.run(async () => {
      this.takeCategories(await work(), choose);
      this.trail.past.push("categories");
      this.trail.future = [];
      this.on.message("");
      // Clicks of one kind may have become clicks of the other.
      if (this.clicks) this.take(await api.readClicks(this.index));
    });
  }

  takeCategories(all, choose = (list) => list.find((c) => c.id === this.category?.id)) {
    this.categories = all;
    this.category = choose(all) || all.at(-1) || null;
    this.on.shown();
  }

  select(id, point = 0) {
    this.choices += 1;
    this.selected = { id, point };
    this.on.shown();
  }

  selectNone() {
    this.choices += 1;
    this.selected = NONE;
    this.on.shown();
  }

  selectNext(step) {
    const ids = this.clicks?.segments_info.map((target) => target.id) || [];
    if (!ids.length) return;
    const at = ids.indexOf(this.selected.id);
    this.select(ids[at < 0 ? 0 : (at + step + ids.length) % ids.length]);
  }

  hover(id) {
    if (id === this.hovered) return;
    this.hovered = id;
    this.on.shown();
  }

  choose(category) {
    this.category = category;
    this.on.shown();
  }

  // The next picture that fits, from the one after the open one around.
  find(fits) {
    const order = this.images.map((_, i) => (this.index + 1 + i) % this.images.length);
    return order.find((i) => fits(this.images[i]));
  }
}
