// Refresh the Queue page every two seconds. Without this script, the Refresh link does the same.
"use strict";

const INTERVAL_MS = 2000;
const SLOWEST_MS = 30000;
const notice = document.getElementById("renewed");
const announcement = document.getElementById("announcement");
const pause = document.getElementById("pause");
const address = document.getElementById("refresh").pathname.replace(/\/$/, "") + "/live";
let wait = INTERVAL_MS;
let paused = false;
let timer = 0;

// Only changed parts are replaced, so that the focus, opened logs and selected text stay.
function update(fresh) {
  const present = document.getElementById("live");
  if (fresh.dataset.announcement !== present.dataset.announcement) announcement.textContent = fresh.dataset.announcement;
  if (fresh.dataset.signature !== present.dataset.signature) {
    const focused = document.activeElement && document.activeElement.id;
    const opened = [...present.querySelectorAll("details[open]")].map((element) => element.id);
    present.replaceWith(fresh);
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus();
    return;
  }
  present.dataset.announcement = fresh.dataset.announcement;
  for (const part of present.querySelectorAll("[data-live]")) {
    const other = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (other && other.innerHTML !== part.innerHTML) part.innerHTML = other.innerHTML;
  }
}

async function refresh() {
  try {
    const answer = await fetch(address, { credentials: "same-origin", signal: AbortSignal.timeout(10000) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    if (!answer.ok || !fresh) throw new Error(String(answer.status));
    if (!paused) update(fresh);
    notice.textContent = "every 2 s";
    wait = INTERVAL_MS;
  } catch {
    wait = Math.min(2 * wait, SLOWEST_MS);
    notice.textContent = `the server does not answer; next try in ${wait / 1000} s`;
  }
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(refresh, wait);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Resume updates" : "Pause updates";
  notice.textContent = paused ? "paused" : "every 2 s";
  schedule();
});
document.addEventListener("visibilitychange", schedule);
notice.textContent = "every 2 s";
schedule();
