// The lists beside the picture. They show a state and call back; they hold nothing.

export const $ = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function swatch(color) {
  const made = element("span", "swatch");
  made.style.backgroundColor = `rgb(${color.join(",")})`;
  return made;
}

export function fillSelect(select, values) {
  select.replaceChildren(...values.map((value) => {
    const option = element("option", "", value.replaceAll("_", " "));
    option.value = value;
    return option;
  }));
}

// Made once; showCurrent and showTargetCount change a line of it.
export function showPictures(images, onChoose) {
  $("pictures").replaceChildren(...images.map((image, index) => {
    const item = element("li");
    const name = element("span", "", image.name);
    item.title = image.name;
    item.append(name, element("span", "done", image.targets ? "✓" : ""));
    item.addEventListener("click", () => onChoose(index));
    return item;
  }));
}

export function showCurrent(index) {
  $("pictures").querySelector(".current")?.classList.remove("current");
  const item = $("pictures").children[index];
  item.classList.add("current");
  item.scrollIntoView({ block: "nearest" });
}

export function showProgress(images, index) {
  if (index !== null) {
    $("pictures").children[index].lastChild.textContent = images[index].targets ? "✓" : "";
  }
  const done = images.filter((image) => image.targets > 0).length;
  $("bar").style.width = `${(100 * done) / images.length}%`;
  $("count").textContent = `${done} of ${images.length} pictures have clicks`;
}

export function filterPictures(text) {
  for (const item of $("pictures").children) {
    item.hidden = !item.title.toLowerCase().includes(text.toLowerCase());
    item.style.display = item.hidden ? "none" : "";
  }
}

export function showCategories(categories, chosen, on) {
  $("categories").replaceChildren(...categories.map((category, index) => {
    const item = element("li", category.id === chosen ? "current" : "");
    const remove = element("button", "small", "×");
    remove.title = "Remove (only without targets)";
    remove.addEventListener("click", (event) => {
      event.stopPropagation();
      on.remove(category);
    });
    item.title = `${category.name}: double click to rename`;
    item.append(
      element(index < 9 ? "kbd" : "span", "key", index < 9 ? String(index + 1) : ""),
      swatch(category.color),
      element("span", "name", category.name),
      element("span", "kind", category.isthing ? "thing" : "stuff"),
      remove,
    );
    item.addEventListener("click", () => on.choose(category));
    item.addEventListener("dblclick", () => on.rename(category));
    return item;
  }));
}

export function showTargets(targets, categories, colors, selected, on) {
  $("target-count").textContent = targets.length ? `(${targets.length})` : "";
  $("targets").replaceChildren(...targets.map((target) => {
    const category = categories.find((c) => c.id === target.category_id);
    const item = element("li", target.id === selected ? "current" : "");
    const count = target.points.length;
    const remove = element("button", "small", "×");
    remove.title = "Remove the target (Shift+Delete)";
    remove.addEventListener("click", (event) => {
      event.stopPropagation();
      on.remove(target);
    });
    item.append(
      swatch(colors[target.id]),
      element("span", "name", category.name),
      element("span", "kind", count === 1 ? "1 click" : `${count} clicks`),
      remove,
    );
    item.addEventListener("click", () => on.select(target));
    return item;
  }));
  $("targets").querySelector(".current")?.scrollIntoView({ block: "nearest" });
}

export function showMessage(text) {
  $("message").textContent = text || "";
  $("message").hidden = !text;
}

export function showSaved(text, busy) {
  $("saved").textContent = text;
  $("saved").classList.toggle("busy", busy);
}
