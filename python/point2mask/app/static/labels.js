// The lists of categories and targets, and the dialogue of a category. They show and call back.

import { css, fromHex, hex, REST_COLOR } from "./colors.js";
import { $, element, replaceRows, rove } from "./dom.js";
import { REST } from "./marks.js";

for (const id of ["categories", "targets"]) rove($(id), "button.row");

function swatch(color) {
  const made = element("span", "swatch");
  made.style.backgroundColor = css(color);
  return made;
}

function row(key, current, parts) {
  const item = element("li", current ? "current" : "");
  item.dataset.key = key;
  const button = element("button", "row");
  button.setAttribute("aria-pressed", current);
  button.append(...parts);
  item.append(button);
  return item;
}

// One of the rows takes part in Tab: the current one, or the first.
function tabThrough(rows) {
  const buttons = rows.map((item) => item.firstChild);
  const one = buttons.find((b) => b.getAttribute("aria-pressed") === "true") || buttons[0];
  for (const button of buttons) button.tabIndex = button === one ? 0 : -1;
}

export function showCategories(categories, chosen, on) {
  const rows = categories.map((category, index) => {
    const current = category.id === chosen;
    const item = row(category.id, current, [
      index < 9 ? element("kbd", "key", String(index + 1)) : element("span", "key"),
      swatch(category.color),
      element("span", "name", category.name),
      element("span", "kind", category.isthing ? "thing" : "stuff"),
      element("span", "number", category.targets ? String(category.targets) : ""),
    ]);
    item.firstChild.title = `${category.name}: ${category.targets || 0} targets in all pictures`;
    item.firstChild.addEventListener("click", () => on.choose(category));
    const edit = element("button", "small", "…");
    edit.setAttribute("aria-label", `Change the category ${category.name}`);
    edit.title = "Name, kind, colour, remove";
    edit.addEventListener("click", () => on.edit(category));
    item.append(edit);
    return item;
  });
  tabThrough(rows);
  replaceRows($("categories"), rows);
  const current = $("categories").querySelector(".current");
  if (current && current.dataset.key !== $("categories").dataset.shown) {
    current.scrollIntoView({ block: "nearest" });
    $("categories").dataset.shown = current.dataset.key;
  }
}

// marks, categories, colors { id: color }, shares { id: of the picture }, its pixels, selected and hovered ids.
export function showTargets({ marks, categories, colors, shares, pixels, selected, hovered }, on) {
  const { targets, rest, strokes } = marks;
  $("target-count").textContent = targets.length ? `(${targets.length})` : "";
  const rows = targets.map((target) => {
    const category = categories.find((c) => c.id === target.category_id);
    const clicks = target.points.length + (target.points.length === 1 ? " click" : " clicks");
    const painted = strokes.filter((stroke) => stroke.segment_id === target.id).length;
    const said = [clicks];
    if (painted) said.push(`${painted} by hand`);
    if (target.area) said.push(`○ ${percent(target.area / pixels)}`);
    return targetRow(target.id, category.name, colors[target.id], said.join(", "), shares[target.id]);
  });
  const nothing = strokes.filter((stroke) => stroke.segment_id === REST).length;
  if (rest.length || nothing) {
    const clicks = rest.length + (rest.length === 1 ? " click" : " clicks");
    const said = nothing ? `${clicks}, ${nothing} by hand` : clicks;
    rows.push(targetRow(REST, "nothing", REST_COLOR, said, shares[REST]));
  }
  tabThrough(rows);
  replaceRows($("targets"), rows);
  if (selected !== null) $("targets").querySelector(".current")?.scrollIntoView({ block: "nearest" });

  function targetRow(id, name, color, said, share) {
    const item = row(id, id === selected, [
      element("span", "key", id === REST ? "" : `#${id}`),
      swatch(color),
      element("span", "name", name),
      element("span", "kind", said),
      element("span", "number", share === undefined ? "" : percent(share)),
    ]);
    if (id === hovered) item.classList.add("hovered");
    item.firstChild.addEventListener("click", () => on.select(id));
    item.addEventListener("pointerenter", () => on.hover(id));
    item.addEventListener("pointerleave", () => on.hover(null));
    const remove = element("button", "small", "×");
    remove.setAttribute("aria-label", `Remove ${name} ${id || ""}`);
    remove.title = "Remove the target (Shift+Delete)";
    remove.addEventListener("click", () => on.remove(id));
    item.append(remove);
    return item;
  }
}

const percent = (share) => (share >= 0.1 ? `${Math.round(100 * share)} %`
  : share >= 0.001 ? `${(100 * share).toFixed(1)} %` : "< 0.1 %");

// change({ name, isthing, color }), remove()
export function editCategory(category, on) {
  const dialog = $("category");
  $("edit-name").value = category.name;
  $("edit-kind").value = category.isthing ? "1" : "0";
  $("edit-color").value = hex(category.color);
  $("edit-remove").disabled = category.targets > 0;
  $("edit-remove").title = category.targets
    ? `${category.targets} targets have it` : "Remove the category";
  dialog.onclose = () => {
    const name = $("edit-name").value.trim();
    if (dialog.returnValue === "remove") on.remove();
    if (dialog.returnValue === "save" && name) {
      on.change({
        name, isthing: Number($("edit-kind").value), color: fromHex($("edit-color").value),
      });
    }
  };
  dialog.returnValue = "";
  dialog.showModal();
}
