// Pointers on the canvas: mouse, pen, fingers and trackpad, with the tool that is chosen.

const CLICK_SLACK = 4; // pixels of the screen: less is a click, more is a drag
const CLOSE = 9; // pixels of the screen: this near to its first corner a polygon is closed

// tool: () => its name. act: what the tools do, in the picture's pixels.
export function listenToPointers(view, tool, act) {
  const canvas = view.canvas;
  const pointers = new Map(); // fingers that are down
  let drag = null; // { kind: "pan" | "click" | "press" | "stroke", ... }
  let pinch = null;
  let panning = false; // Space is held

  const drawing = () => ["brush", "eraser"].includes(tool());

  function begin(event) {
    const start = { x: event.clientX, y: event.clientY };
    if (event.button === 1 || (event.button === 0 && panning)) {
      return { kind: "pan", start, last: view.place(event) };
    }
    if (event.button !== 0) return null;
    const click = view.clickAt(event);
    if (tool() === "size") {
      const point = view.onPicture(event);
      const begun = (click || point) && act.startSize(click, point);
      return begun ? { kind: "size", start } : null;
    }
    if (click && !drawing() && tool() !== "polygon" && !event.shiftKey && !event.altKey) {
      act.select(click.target, click.point);
      // Selecting made the list anew.
      const same = (c) => c.target === click.target && c.point === click.point;
      return { kind: "click", click: view.clicks.find(same), from: [click.x, click.y], start };
    }
    const point = view.onPicture(event);
    if (point && drawing()) {
      view.draft = act.startStroke(point);
      if (!view.draft) return null;
      view.draw();
      return { kind: "stroke", start };
    }
    return { kind: "press", start, last: view.place(event) };
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    view.crosshair = null;
    pointers.set(event.pointerId, event);
    if (pointers.size === 2) {
      drag = null;
      view.draft = drawing() || tool() === "size" ? null : view.draft;
      pinch = span();
    } else if (pointers.size === 1) {
      drag = begin(event);
    }
    if (!drag && !pinch) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
  });

  // Of the two fingers: how far apart, and their middle on the canvas.
  function span() {
    const [a, b] = [...pointers.values()].map((event) => view.place(event));
    return {
      length: Math.hypot(a.x - b.x, a.y - b.y) || 1,
      middle: { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 },
    };
  }

  canvas.addEventListener("pointermove", (event) => {
    if (pointers.has(event.pointerId)) pointers.set(event.pointerId, event);
    if (drawing() && event.pointerType !== "touch") {
      view.brush = { at: view.place(event), radius: act.brushRadius() };
      view.draw();
    }
    if (pinch && pointers.size === 2) {
      const now = span();
      view.pan(now.middle.x - pinch.middle.x, now.middle.y - pinch.middle.y);
      view.zoom(now.length / pinch.length, now.middle);
      pinch = now;
    } else if (drag) {
      moveDrag(event);
    } else if (!pointers.size) {
      canvas.classList.toggle("over", !panning && view.clickAt(event) !== null);
      act.hover(view.onPicture(event));
    }
  });

  function moveDrag(event) {
    const far = Math.hypot(event.clientX - drag.start.x, event.clientY - drag.start.y);
    drag.moved = drag.moved || far > CLICK_SLACK;
    if (drag.kind === "stroke") {
      for (const part of event.getCoalescedEvents?.() || [event]) {
        view.draft.points.push(view.onPicture(part, true));
      }
      view.draw();
    } else if (drag.kind === "size") {
      act.stretchSize(view.place(event));
    } else if (drag.kind === "pan" || (drag.kind === "press" && drag.moved)) {
      const at = view.place(event);
      view.pan(at.x - drag.last.x, at.y - drag.last.y);
      drag.last = at;
    } else if (drag.kind === "click" && drag.moved) {
      [drag.click.x, drag.click.y] = view.onPicture(event, true);
      view.draw();
    }
  }

  canvas.addEventListener("pointerup", (event) => {
    pointers.delete(event.pointerId);
    if (pinch) {
      if (!pointers.size) pinch = null;
      return;
    }
    const done = drag;
    drag = null;
    if (!done) return;
    if (done.kind === "stroke") {
      act.endStroke(view.draft);
      view.draft = null;
    } else if (done.kind === "size") {
      act.endSize();
    } else if (done.kind === "click" && done.moved) {
      act.move(done.from, view.onPicture(event, true));
    } else if (done.kind === "press" && !done.moved) {
      const point = view.onPicture(event);
      if (point && tool() === "polygon") addCorner(event, point);
      else if (point) act.click(point, event);
    }
  });

  function addCorner(event, point) {
    const ratio = window.devicePixelRatio || 1;
    if (view.draft && view.draft.points.length > 2) {
      const [x, y] = view.onCanvas(view.draft.points[0]);
      const at = view.place(event);
      if (Math.hypot(x - at.x, y - at.y) <= CLOSE * ratio) return act.endPolygon();
    }
    act.addCorner(point);
  }

  canvas.addEventListener("dblclick", () => {
    if (tool() === "polygon") act.endPolygon();
  });

  canvas.addEventListener("pointercancel", (event) => {
    pointers.delete(event.pointerId);
    drag = pinch = null;
    if (drawing() || tool() === "size") view.draft = null;
    act.refresh();
  });

  canvas.addEventListener("pointerleave", () => {
    view.brush = null;
    view.draw();
    act.hover(null);
  });

  canvas.addEventListener("contextmenu", (event) => {
    event.preventDefault();
    const click = view.clickAt(event);
    if (click) act.removeClick([click.x, click.y]);
  });

  // A wheel zooms; two fingers on a trackpad move the picture, a pinch (which says ctrl) zooms it.
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const wheel = event.deltaMode !== 0 || (event.deltaX === 0 && Math.abs(event.deltaY) >= 50);
    const ratio = window.devicePixelRatio || 1;
    if (event.ctrlKey) {
      view.zoom(Math.exp(-event.deltaY * 0.01), view.place(event));
    } else if (wheel && !event.shiftKey) {
      view.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), view.place(event));
    } else {
      view.pan(-event.deltaX * ratio, -event.deltaY * ratio);
    }
  }, { passive: false });

  return {
    // What was begun does not go on: on another picture, with another tool, after Esc.
    drop() {
      drag = null;
    },
    hold(on) {
      panning = on;
      canvas.classList.toggle("grab", on);
    },
  };
}
