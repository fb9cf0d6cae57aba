// Clicks that nobody sets by hand: those of the picture before, and those that a network proposes.

import * as api from "./api.js";
import { scaled, withTargets } from "./marks.js";

export function givenClicks(session, say) {
  return {
    copyPrevious() {
      const from = session.index - 1;
      if (from < 0) return say("there is no picture before this one");
      session.change(async () => {
        const there = await api.readClicks(from);
        if (!there.segments_info.length) return say(`${there.name} has no clicks to copy`);
        const here = session.clicks;
        if (here.segments_info.length || here.rest.length || here.strokes.length) {
          return say("clicks are copied to a picture without clicks or corrections by hand");
        }
        const given = { targets: there.segments_info, rest: there.rest };
        return { marks: scaled(given, there, here), id: null, point: null };
      });
    },

    propose() {
      session.change(async (marks) => {
        const found = await api.propose(session.index);
        if (!found.length) return say("the network finds nothing here that has no click yet");
        return withTargets(marks, found, session.categories);
      });
    },
  };
}
