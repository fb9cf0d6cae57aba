// Small helpers to make and find elements.

export const $ = (id) => document.getElementById(id);

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function fillSelect(select, values) {
  select.replaceChildren(...values.map((value) => {
    const option = element("option", "", value.replaceAll("_", " "));
    option.value = value;
    return option;
  }));
}

// Arrow keys, Home and End walk through the buttons of a list; Tab enters and leaves it as one.
export function rove(list, selector) {
  list.addEventListener("keydown", (event) => {
    const buttons = [...list.querySelectorAll(selector)];
    const at = buttons.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : step && at + step;
    if (at < 0 || to === undefined || !buttons[to]) return;
    event.preventDefault();
    event.stopPropagation();
    for (const button of buttons) button.tabIndex = button === buttons[to] ? 0 : -1;
    buttons[to].focus();
  });
}

// Puts new children into a list; the focus stays with the row of the same key.
export function replaceRows(list, rows) {
  const focused = list.contains(document.activeElement)
    ? document.activeElement.closest("[data-key]")?.dataset.key : null;
  const selector = document.activeElement.className;
  const top = list.scrollTop;
  list.replaceChildren(...rows);
  list.scrollTop = top;
  if (focused === null || focused === undefined) return;
  const row = list.querySelector(`[data-key="${CSS.escape(focused)}"]`);
  const same = row && [...row.querySelectorAll("button")].find((b) => b.className === selector);
  (same || row?.querySelector("button"))?.focus();
}
