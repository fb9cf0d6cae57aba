// Exports: to a folder of the server, or as a zip that the browser saves.

import * as api from "./api.js";
import { $ } from "./dom.js";

function say(text, wrong = false) {
  $("export-status").textContent = text;
  $("export-status").classList.toggle("error", wrong);
  $("export-status").scrollIntoView({ block: "nearest" });
}

// session, how: () => the chosen cue and assigner.
export function listenToExports(session, how) {
  $("export").addEventListener("click", () => start(false));
  $("export-zip").addEventListener("click", () => start(true));

  function busy(on) {
    $("export").disabled = $("export-zip").disabled = on;
  }

  // After the changes that are on their way; the page goes on meanwhile.
  function start(zip) {
    busy(true);
    say("working …");
    const only = $("export-which").value === "this" ? [session.index] : null;
    const asked = { format: $("format").value, zip: Number(zip), images: only, ...how() };
    session.run(async () => {
      try {
        watch(await api.startExport(asked));
      } catch (error) {
        say(error.message, true);
        busy(false);
      }
    });
  }

  async function watch(status) {
    while (status.state === "running") {
      say(status.total ? `${status.done} of ${status.total} …` : "working …");
      await new Promise((resolve) => setTimeout(resolve, 200));
      try {
        status = await api.exportStatus();
      } catch (error) {
        status = { state: "failed", error: error.message };
      }
    }
    busy(false);
    if (status.state !== "done") return say(status.error, true);
    if (!status.zip) return say(`written to ${status.path}`);
    say("saved by the browser");
    const link = document.createElement("a");
    link.href = api.exportZip();
    link.download = "";
    link.click();
  }
}
