// Keeps the page up to date: an event says that there is something new, and the page is asked for anew.
// Without this script everything is there as well; it has to be reloaded by hand.
"use strict";

const SILENT_MS = 15000; // the guard sends an event at least every 5 s
const RETRY_MS = 10000;

const live = document.getElementById("live");
let source = null;
let heardMs = 0;
let waiting = false;
let busy = false;

function say(text, state) {
  if (live.textContent === text) return;
  live.textContent = text;
  live.className = state;
}

function lost() {
  say("NOT LIVE: connection lost, this is old", "off");
}

function connect() {
  source = new EventSource(document.body.dataset.events);
  source.addEventListener("view", () => {
    heardMs = Date.now();
    refresh();
  });
  source.onerror = () => {
    lost();
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  };
}

async function refresh() {
  waiting = true;
  if (busy || document.hidden) return;
  busy = true;
  try {
    while (waiting) {
      waiting = false;
      const answer = await fetch(location.href, { signal: AbortSignal.timeout(SILENT_MS) });
      take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
    say("live", "on");
  } catch (error) {
    lost();
  } finally {
    busy = false;
  }
}

function take(page) {
  const focused = document.activeElement && document.activeElement.id;
  if (document.title !== page.title) document.title = page.title;
  for (const folded of page.querySelectorAll("details[open]")) folded.removeAttribute("open");
  for (const id of ["asof", "main"]) {
    morph(document.getElementById(id), page.getElementById(id));
  }
  if (focused && document.activeElement.id !== focused) {
    const again = document.getElementById(focused);
    if (again) again.focus({ preventScroll: true });
  }
}

// Makes `old` like `fresh` and touches nothing that is the same: focus, selection and what is unfolded stay.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  morphAttributes(old, fresh);
  morphChildren(old, fresh);
}

function morphAttributes(old, fresh) {
  const kept = old.nodeName === "DETAILS" ? ["open"] : [];
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value && !kept.includes(name)) old.setAttribute(name, value);
  }
}

function morphChildren(old, fresh) {
  const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const known = wanted.id ? named.get(wanted.id) : null;
    if (known && known !== at) old.insertBefore(known, at);
    if (known) at = known;
    if (!at || (!known && at.id)) {
      old.insertBefore(document.importNode(wanted, true), at);
      continue;
    }
    const next = at.nextSibling;
    morph(at, wanted);
    at = next;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && waiting) refresh();
});
setInterval(() => {
  if (heardMs && Date.now() - heardMs > SILENT_MS) lost();
}, 1000);
connect();
