// What the page knows: pictures, categories, the marks of the open picture and what is chosen.
// The server holds the truth; changes go to it one after the other.

import * as api from "./api.js";
import { pointsOf } from "./marks.js";

const NONE = { id: null, at: null };

export class Session {
  // on: { shown(), opened(picture, clicks), marked(), message(text), saved(text, busy) }
  constructor(on) {
    this.on = on;
    this.images = [];
    this.categories = [];
    this.category = null;
    this.index = 0;
    this.clicks = null; // what the server says of the picture
    this.selected = NONE; // a target and one of its clicks, [x, y]
    this.choices = 0; // how often a person has chosen what is selected
    this.hovered = null;
    this.trail = { past: [], future: [] }; // "marks" or "categories", in the order of changes
    this.queue = Promise.resolve();
    this.unsaved = 0; // changes whose turn has not come, or that the server has not answered
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

  // Work that changes something.
  runChange(work) {
    this.unsaved += 1;
    return this.run(work).finally(() => {
      this.unsaved -= 1;
    });
  }

  // A change of the picture that is open now: refused where another one is open when its turn comes.
  changeHere(work) {
    const { index } = this;
    return this.runChange(async () => {
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
      await this.take(clicks);
    });
  }

  async take(clicks) {
    const counts = clicks.category_counts;
    const all = this.categories;
    if (all.length !== Object.keys(counts).length || all.some(({ id }) => !(id in counts))) {
      this.keepCategories(await this.readCategories());
    }
    this.clicks = clicks;
    const { id, at } = this.selected;
    const points = pointsOf(this.marks, id);
    if (!points?.length) this.selected = NONE;
    else if (!points.some((p) => String(p) === String(at))) this.selected = { id, at: points.at(-1) };
    this.image.targets = clicks.segments_info.length;
    this.image.status = clicks.status;
    for (const category of this.categories) {
      category.targets = counts[category.id] || 0;
    }
    this.on.marked();
  }

  // Clicks that another window has changed.
  renew() {
    const { index } = this;
    return this.run(async () => {
      if (index !== this.index || !this.clicks) return;
      const fresh = await api.readClicks(index);
      if (fresh.revision === this.clicks.revision) return;
      await this.take(fresh);
      this.on.message(`${fresh.name}: its clicks were changed in another window`);
    });
  }

  // `make` turns the marks into { marks, id, point }, or nothing for no change; it may take its time.
  change(make) {
    const { choices } = this;
    return this.changeHere(async () => {
      if (!this.clicks) return;
      const made = await make(this.marks);
      if (!made) return this.on.shown();
      await this.save((clicks) => api.writeMarks(this.index, clicks, made.marks), () => {
        // What was chosen since the change was asked for stays.
        if (made.id !== undefined && choices === this.choices) {
          const at = pointsOf(made.marks, made.id)?.[made.point] ?? null;
          this.selected = { id: made.id, at };
        }
      });
      this.trail.past.push("marks");
      this.trail.future = [];
    });
  }

  // `then` follows unless the status is not saved.
  setStatus(status, then = () => {}) {
    return this.changeHere(async () => {
      if (this.clicks) await this.save((clicks) => api.writeStatus(this.index, clicks, status));
      then();
    });
  }

  async save(work, then = () => {}) {
    this.on.saved("saving …", true);
    let answer;
    try {
      answer = await this.again(work);
    } catch (error) {
      this.on.saved("not saved", true);
      this.on.shown();
      throw error;
    }
    then();
    this.on.message("");
    this.on.saved("saved", false);
    await this.take(answer);
  }

  // Once more where only the count of changes is another: another window took back what it had changed.
  async again(work) {
    try {
      return await work(this.clicks);
    } catch (error) {
      if (error.status !== 409) throw error;
      const fresh = await api.readClicks(this.index);
      const said = ({ segments_info, rest, strokes }) => JSON.stringify([segments_info, rest, strokes]);
      if (said(fresh) === said(this.clicks) && fresh.revision !== this.clicks.revision) {
        return work(fresh);
      }
      await this.take(fresh);
      throw error;
    }
  }

  // What was changed last, marks or categories.
  step(what) {
    return this.changeHere(async () => {
      const [from, to] = what === "undo" ? ["past", "future"] : ["future", "past"];
      const kind = this.trail[from].at(-1) || "marks";
      if (kind === "categories") {
        const call = what === "undo" ? api.undoCategories : api.redoCategories;
        await this.takeCategories(call);
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

  // `work` changes the categories that it is given, and says which there are then.
  changeCategories(work, choose) {
    return this.runChange(async () => {
      await this.takeCategories(work, choose);
      this.trail.past.push("categories");
      this.trail.future = [];
    });
  }

  async takeCategories(work, choose) {
    let all, refused;
    try {
      all = await work(this.categories);
    } catch (error) {
      if (error.status !== 409) throw error;
      refused = error;
      all = await this.readCategories();
    }
    // Clicks of one kind may have become clicks of the other.
    const clicks = this.clicks && await api.readClicks(this.index);
    this.keepCategories(all, refused ? undefined : choose);
    this.on.message("");
    if (clicks) await this.take(clicks);
    else this.on.shown();
    if (refused) throw refused;
  }

  // Where another window has changed them: what this one did is not what would be undone next.
  async readCategories() {
    const all = await api.readCategories();
    const others = (steps) => steps.filter((kind) => kind !== "categories");
    this.trail = { past: others(this.trail.past), future: others(this.trail.future) };
    return all;
  }

  keepCategories(all, choose = () => null) {
    this.categories = all;
    this.category = choose(all) || all.find((c) => c.id === this.category?.id) || all.at(-1) || null;
  }

  select(id, point = 0) {
    this.choices += 1;
    this.selected = { id, at: pointsOf(this.marks, id)?.[point] ?? null };
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
