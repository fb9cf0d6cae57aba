// "Train on these clicks": a run on the server, how far it is, and what came of it.

import * as api from "./api.js";
import { $ } from "./dom.js";

const PAUSE = 1000; // milliseconds between questions

// on: { cues(names) } where the network of a run can be chosen as a cue.
export function listenToTraining(on) {
  $("train").addEventListener("click", () => tell(() => api.startTraining(Number($("training-steps").value))));
  $("train-stop").addEventListener("click", () => tell(api.stopTraining));
  let asking = false;
  tell(api.trainingStatus); // one that was started before a reload

  async function tell(ask) {
    try {
      show(await ask());
    } catch (error) {
      say(error.message, true);
      return;
    }
    if (asking) return;
    asking = true;
    try {
      let status = await api.trainingStatus();
      while (status.state === "running") {
        show(status);
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
        status = await api.trainingStatus();
      }
      show(status);
      if (status.state === "done") on.cues(status.cues);
    } catch (error) {
      say(error.message, true);
    } finally {
      asking = false;
    }
  }
}

function show({ state, step, steps, loss, left, path, error, drawn }) {
  const running = state === "running";
  $("train").disabled = running;
  $("train-stop").disabled = !running;
  $("training-bar").hidden = !running;
  $("training-bar").max = steps || 1;
  $("training-bar").value = step;
  if (state === "none") return;
  say({
    running: step ? `step ${step} of ${steps}, loss ${loss}, ${left} left` : "starting …",
    done: `done: ${path}; its masks are the cue "checkpoint", and "propose" (G) clicks where it finds something`,
    stopped: `stopped at step ${step}`,
    failed: error,
  }[state], state === "failed");
  const picture = $("training-picture");
  picture.hidden = !drawn;
  if (drawn && picture.dataset.drawn !== String(drawn)) {
    picture.dataset.drawn = drawn;
    picture.href = picture.firstElementChild.src = api.trainingPicture(0, drawn);
  }
}

function say(text, wrong = false) {
  $("training-status").textContent = text;
  $("training-status").classList.toggle("error", wrong);
}
