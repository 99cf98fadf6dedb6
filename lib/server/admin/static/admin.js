// Renew the queue every two seconds. Without this script the page has a link that does the same.
"use strict";

const INTERVAL_MS = 2000;
const SLOWEST_MS = 30000;
const said = document.getElementById("renewed");
const announcement = document.getElementById("announcement");
const pause = document.getElementById("pause");
const address = document.getElementById("refresh").pathname.replace(/\/$/, "") + "/live";
let wait = INTERVAL_MS;
let paused = false;
let timer = 0;

// Only what differs is put in place, so that focus, opened logs and selections stay where they are.
function renew(fresh) {
  const present = document.getElementById("live");
  if (fresh.dataset.announcement !== present.dataset.announcement) announcement.textContent = fresh.dataset.announcement;
  if (fresh.dataset.signature !== present.dataset.signature) {
    const focused = document.activeElement && document.activeElement.id;
    const opened = [...present.querySelectorAll("details[open]")].map((each) => each.id);
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

async function ask() {
  try {
    const answer = await fetch(address, { credentials: "same-origin", signal: AbortSignal.timeout(10000) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    if (!answer.ok || !fresh) throw new Error(String(answer.status));
    if (!paused) renew(fresh);
    said.textContent = "every 2 s";
    wait = INTERVAL_MS;
  } catch {
    wait = Math.min(2 * wait, SLOWEST_MS);
    said.textContent = `the server did not answer; asked again in ${wait / 1000} s`;
  }
  plan();
}

function plan() {
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(ask, wait);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Go on updating" : "Pause updates";
  said.textContent = paused ? "paused" : "every 2 s";
  plan();
});
document.addEventListener("visibilitychange", plan);
said.textContent = "every 2 s";
plan();
