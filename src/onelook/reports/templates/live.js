// Follows a run that is training: takes over the sections that have changed, and leaves all others as they are.
"use strict";
const followRun = () => {
  const line = document.querySelector("#live");
  const epoch = document.querySelector("#epoch");
  let known = document.querySelector("main").cloneNode(true);  // as it was sent, before other programs add to it
  let version = document.body.dataset.version;

  const take = (page) => {
    for (const newest of page.querySelectorAll("main > section")) {
      if (newest.isEqualNode(known.querySelector(`#${newest.id}`))) continue;
      const before = document.getElementById(newest.id);
      const after = document.importNode(newest, true);
      const opened = new Set(Array.from(before.querySelectorAll("details[open] > summary"), (one) => one.textContent));
      for (const summary of after.querySelectorAll("details > summary")) {
        if (opened.has(summary.textContent)) summary.parentElement.open = true;
      }
      before.replaceWith(after);
      startCharts(after);
      startExplorers(after);
      startGalleries(after);
    }
    known = page.querySelector("main");
    version = page.body.dataset.version;
  };
  const showEpoch = (progress) => {
    epoch.hidden = !progress;
    if (!progress) return;
    epoch.querySelector("progress").value = progress.share;
    epoch.querySelector("span").textContent = progress.text;
  };
  const ask = async () => {
    try {
      const state = await (await fetch("state")).json();
      if (state.version !== version) {
        take(new DOMParser().parseFromString(await (await fetch(".")).text(), "text/html"));
        line.dataset.changed = new Date().toLocaleTimeString();
      }
      const changed = line.dataset.changed ? `; last change at ${line.dataset.changed}` : "";
      line.textContent = state.ended ? `The run has ended (${state.state}).` : `Follows the run${changed}.`;
      showEpoch(state.progress);
      if (state.ended && state.version === version) return;
    } catch {
      line.textContent = "The run does not answer. Asking again ...";
    }
    setTimeout(ask, 2000);
  };
  ask();
};
followRun();
