// Mouse and keyboard to actions.

const CLICK_SLACK = 3; // pixels of the screen: less is a click, more is a drag

export function listen(view, actions) {
  const canvas = view.canvas;
  let drag = null; // { kind: "pan" | "click" | "new", ... }
  let space = false;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus();
    const start = { x: event.clientX, y: event.clientY };
    if (event.button === 1 || (event.button === 0 && space)) {
      drag = { kind: "pan", last: view.place(event) };
    } else if (event.button === 0) {
      const click = view.clickAt(event);
      drag = click && !event.shiftKey ? { kind: "click", click, start } : { kind: "new", start };
      if (drag.kind === "click") {
        actions.select(click.target, click.point);
        // Selecting made the list anew.
        drag.click = view.clicks.find((c) => c.target === click.target && c.point === click.point);
      }
    } else {
      return;
    }
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!drag) {
      canvas.classList.toggle("over", !space && view.clickAt(event) !== null);
      return;
    }
    const far = (from) => Math.hypot(event.clientX - from.x, event.clientY - from.y) > CLICK_SLACK;
    if (drag.kind === "pan") {
      const at = view.place(event);
      view.pan(at.x - drag.last.x, at.y - drag.last.y);
      drag.last = at;
    } else if (drag.kind === "click" && (drag.moved || far(drag.start))) {
      drag.moved = true;
      [drag.click.x, drag.click.y] = view.onPicture(event, true);
      view.draw();
    }
  });

  canvas.addEventListener("pointerup", (event) => {
    const done = drag;
    drag = null;
    if (!done) return;
    if (done.kind === "click" && done.moved) {
      actions.move(done.click.target, done.click.point, view.onPicture(event, true));
    } else if (done.kind === "new") {
      const point = view.onPicture(event);
      if (point) actions.click(point, event.shiftKey);
    }
  });

  canvas.addEventListener("pointercancel", () => {
    drag = null;
    actions.selectNone();
  });

  canvas.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    const click = view.clickAt(event);
    if (click) actions.removeClick(click.target, click.point);
  });

  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), view.place(event));
  }, { passive: false });

  const grab = (on) => {
    space = on;
    canvas.classList.toggle("grab", on);
  };
  window.addEventListener("keyup", (event) => event.key === " " && grab(false));
  window.addEventListener("blur", () => grab(false));

  window.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=range]), select, dialog");
    if (typing) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const handler = find(event);
    if (!handler) return;
    event.preventDefault();
    handler();
  });

  function find(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") return event.shiftKey ? actions.redo : actions.undo;
      return key === "y" ? actions.redo : null;
    }
    if (event.altKey) return null;
    if (key >= "1" && key <= "9") return () => actions.category(Number(key) - 1);
    // Tab still walks through the page from everywhere but the picture.
    if (key === "Tab" && event.target !== canvas) return null;
    if (key === " " && event.target.closest("button")) return null;
    return {
      ArrowLeft: actions.previous,
      ArrowRight: actions.next,
      u: actions.unlabelled,
      n: actions.newCategory,
      c: actions.recategorise,
      m: actions.masks,
      0: actions.fit,
      "+": () => view.zoom(1.25),
      "=": () => view.zoom(1.25),
      "-": () => view.zoom(0.8),
      "?": actions.help,
      Tab: event.shiftKey ? null : actions.selectNext,
      Escape: actions.selectNone,
      Delete: event.shiftKey ? actions.removeTarget : () => actions.removeClick(),
      Backspace: event.shiftKey ? actions.removeTarget : () => actions.removeClick(),
      " ": () => grab(true),
    }[key];
  }
}
