// Keys to actions. They belong to the page wherever the focus is, except in fields and dialogs;
// arrows and Enter belong to the picture only while it has the focus.

const CROSS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 12; // pixels of the screen that an arrow moves the crosshair; one with Shift

export function listenToKeys(canvas, actions) {
  window.addEventListener("keyup", (event) => event.key === " " && actions.hold(false));
  window.addEventListener("blur", () => actions.hold(false));

  window.addEventListener("keydown", (event) => {
    if (event.target.closest("input:not([type=range]), select, dialog")) {
      if (event.key === "Escape" && !event.target.closest("dialog")) event.target.blur();
      return;
    }
    const handler = onPicture(event) || find(event);
    if (!handler) return;
    event.preventDefault();
    handler();
  });

  function onPicture(event) {
    if (event.target !== canvas || event.ctrlKey || event.metaKey) return null;
    const step = CROSS[event.key];
    if (step) {
      const length = event.shiftKey ? 1 : STEP;
      return () => actions.crosshair(step[0] * length, step[1] * length);
    }
    return event.key === "Enter" ? () => actions.clickAtCrosshair(event) : null;
  }

  function find(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") return event.shiftKey ? actions.redo : actions.undo;
      return key === "y" ? actions.redo : null;
    }
    if (event.altKey) return null;
    if (key >= "1" && key <= "9") return () => actions.category(Number(key) - 1);
    if (key === " ") return event.target.closest("button, a") ? null : () => actions.hold(true);
    return {
      "[": actions.previous,
      "]": actions.next,
      ",": actions.selectPrevious,
      ".": actions.selectNext,
      "+": actions.zoomIn,
      "=": actions.zoomIn,
      "-": actions.zoomOut,
      0: actions.fit,
      "?": actions.help,
      a: () => actions.tool("click"),
      s: () => actions.tool("more"),
      x: () => actions.tool("rest"),
      b: () => actions.tool("brush"),
      e: () => actions.tool("eraser"),
      p: () => actions.tool("polygon"),
      r: () => actions.tool("size"),
      u: actions.unlabelled,
      d: actions.done,
      k: actions.copyPrevious,
      g: actions.propose,
      n: actions.newCategory,
      c: actions.recategorise,
      m: actions.masks,
      Escape: actions.escape,
      Delete: event.shiftKey ? actions.removeTarget : actions.removeClick,
      Backspace: event.shiftKey ? actions.removeTarget : actions.removeClick,
    }[key];
  }
}
