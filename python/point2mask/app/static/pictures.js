// The list of pictures: only the rows in sight exist, so that a folder may hold any number.

import { thumbnail } from "./api.js";
import { $, element } from "./dom.js";

const ROW = 48; // pixels, as in the style sheet
const SIGNS = { done: "✓", review: "!", skip: "–" };
export const FILTERS = {
  all: () => true,
  "without clicks": (image) => image.targets === 0 && image.status !== "skip",
  "with clicks": (image) => image.targets > 0,
  done: (image) => image.status === "done",
  review: (image) => image.status === "review",
  skip: (image) => image.status === "skip",
};

export class PictureList {
  constructor(onChoose) {
    this.list = $("pictures");
    this.onChoose = onChoose;
    this.images = [];
    this.order = []; // indices of the images that pass the filters
    this.current = 0;
    this.cursor = 0; // place in the order, of the keyboard
    this.space = element("div", "space");
    this.list.append(this.space);
    this.list.addEventListener("scroll", () => this.paint());
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest("[data-index]");
      if (row) onChoose(Number(row.dataset.index));
    });
    this.list.addEventListener("keydown", (event) => this.onKey(event));
    this.list.addEventListener("focus", () => this.moveTo(Math.max(0, this.order.indexOf(this.current))));
    for (const id of ["filter", "status-filter"]) $(id).addEventListener("input", () => this.filter());
    new ResizeObserver(() => this.paint()).observe(this.list);
  }

  show(images) {
    this.images = images;
    this.filter();
  }

  filter() {
    const text = $("filter").value.toLowerCase();
    const fits = FILTERS[$("status-filter").value];
    this.order = this.images.flatMap((image, index) => (
      fits(image) && image.name.toLowerCase().includes(text) ? [index] : []));
    this.space.style.height = `${this.order.length * ROW}px`;
    this.paint();
  }

  showCurrent(index) {
    this.current = index;
    this.reveal(this.order.indexOf(index));
    this.paint();
  }

  reveal(at) {
    if (at < 0) return;
    const { scrollTop, clientHeight } = this.list;
    if (at * ROW < scrollTop) this.list.scrollTop = at * ROW;
    else if ((at + 1) * ROW > scrollTop + clientHeight) this.list.scrollTop = (at + 1) * ROW - clientHeight;
  }

  showProgress() {
    const count = (name) => this.images.filter(FILTERS[name]).length;
    const [clicked, done, skipped] = ["with clicks", "done", "skip"].map(count);
    const said = [`${clicked} of ${this.images.length} pictures have clicks`];
    if (done) said.push(`${done} done`);
    if (skipped) said.push(`${skipped} skipped`);
    $("count").textContent = said.join(", ");
    $("bar").style.width = `${(100 * clicked) / Math.max(1, this.images.length - skipped)}%`;
    this.paint();
  }

  onKey(event) {
    const page = Math.max(1, Math.floor(this.list.clientHeight / ROW) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 };
    if (event.key in steps) this.moveTo(this.cursor + steps[event.key]);
    else if (event.key === "Enter" && this.order.length) this.onChoose(this.order[this.cursor]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  moveTo(at) {
    this.cursor = Math.min(this.order.length - 1, Math.max(0, at));
    this.reveal(this.cursor);
    this.paint();
  }

  paint() {
    const first = Math.max(0, Math.floor(this.list.scrollTop / ROW) - 4);
    const last = Math.min(this.order.length, Math.ceil((this.list.scrollTop + this.list.clientHeight) / ROW) + 4);
    const known = new Map([...this.space.children].map((row) => [row.dataset.index, row]));
    const rows = [];
    for (let at = first; at < last; at++) {
      const index = this.order[at];
      const row = known.get(String(index)) || this.row(index);
      this.update(row, at, index);
      rows.push(row);
      known.delete(String(index));
    }
    for (const row of known.values()) row.remove();
    for (const row of rows) if (row.parentNode !== this.space) this.space.append(row);
    const focused = document.activeElement === this.list && this.order.length;
    this.list.setAttribute("aria-activedescendant", focused ? `picture-${this.order[this.cursor]}` : "");
  }

  row(index) {
    const row = element("div", "picture");
    row.dataset.index = index;
    row.id = `picture-${index}`;
    row.setAttribute("role", "option");
    row.title = this.images[index].name;
    const image = element("img");
    image.alt = "";
    image.loading = "lazy";
    image.src = thumbnail(index);
    image.addEventListener("error", () => image.classList.add("missing"));
    const name = element("span", "name");
    name.append(...this.images[index].name.split(/(?=[./_-])/).flatMap((part) => [part, element("wbr")]));
    row.append(image, name, element("span", "sign"));
    return row;
  }

  update(row, at, index) {
    const { targets, status } = this.images[index];
    row.style.top = `${at * ROW}px`;
    row.setAttribute("aria-setsize", this.order.length);
    row.setAttribute("aria-posinset", at + 1);
    row.setAttribute("aria-selected", index === this.current);
    row.classList.toggle("current", index === this.current);
    row.classList.toggle("cursor", at === this.cursor && document.activeElement === this.list);
    const sign = row.lastChild;
    sign.className = `sign ${status || ""}`;
    sign.textContent = SIGNS[status] || (targets ? String(targets) : "");
    sign.title = status || (targets ? `${targets} targets` : "");
  }
}
