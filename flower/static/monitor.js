// What the pages do beyond reading: search as it is typed, watch, link facts and their places, take dropped files.
"use strict";

const fragment = async (address) => {
  const answer = await fetch(address, { headers: { "X-Fragment": "1" }, credentials: "same-origin" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.text();
};

// -- search: the newest answer wins, whatever order they come in
for (const form of document.querySelectorAll("form[data-search]")) {
  const target = document.querySelector(form.dataset.search);
  let timer = 0, asked = 0;
  const search = async () => {
    const mine = ++asked;
    const given = [...new FormData(form)].filter(([, value]) => value !== "");
    const address = `?${new URLSearchParams(given)}`;
    try {
      const rows = await fragment(address);
      if (mine !== asked) return;
      target.innerHTML = rows;
      history.replaceState(null, "", address);
    } catch { /* an unfinished date, or the monitor is away: the list stays */ }
  };
  form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(search, 150); });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); search(); });
}

// -- watching: one connection; what changed is fetched, put in place of what was there, and chosen boxes stay chosen
const live = document.querySelector("[data-live]");
if (live) {
  const state = document.querySelector("[data-live-state]");
  const say = (text) => { if (state) state.textContent = text; };
  let busy = false, again = false;
  const renew = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const chosen = new Set([...live.querySelectorAll("input:checked")].map((box) => box.value));
      const rows = await fragment(location.href);
      live.innerHTML = rows;
      for (const box of live.querySelectorAll("input[type=checkbox]")) box.checked = chosen.has(box.value);
      say("Live");
    } catch { say("The monitor does not answer; trying again"); }
    busy = false;
    if (again) { again = false; renew(); }
  };
  let stream = null;
  const open = () => {
    stream = new EventSource(live.dataset.live);
    stream.addEventListener("changed", renew);
    stream.onerror = () => say("Connecting…");
    stream.onopen = () => say("Live");
  };
  // a page nobody looks at holds no connection
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { stream?.close(); stream = null; } else if (!stream) { open(); renew(); }
  });
  open();
}

// -- facts and their places, linked both ways
const light = (name, on) => {
  for (const part of document.querySelectorAll(`[data-fact="${name}"]`)) part.classList.toggle("a-lit", on);
};
for (const part of document.querySelectorAll("[data-fact]")) {
  part.addEventListener("mouseenter", () => light(part.dataset.fact, true));
  part.addEventListener("mouseleave", () => light(part.dataset.fact, false));
}
if (/^#[fw]\d+$/.test(location.hash)) light(location.hash.slice(1), true);
window.addEventListener("hashchange", () => {
  document.querySelectorAll(".a-lit").forEach((part) => part.classList.remove("a-lit"));
  if (/^#[fw]\d+$/.test(location.hash)) light(location.hash.slice(1), true);
});

// -- words over the page as wide as the ink below them, so that what is marked is what is seen
const fit = () => {
  for (const layer of document.querySelectorAll("[data-fit]")) {
    for (const line of layer.children) {
      line.style.fontSize = `${0.8 * line.clientHeight}px`;
      line.style.transform = "";
      const wide = line.scrollWidth;
      if (wide) line.style.transform = `scaleX(${line.clientWidth / wide})`;
    }
  }
};
if (document.querySelector("[data-fit]")) {
  fit();
  let waiting = 0;
  window.addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(fit); });
}

// -- asking before what cannot be taken back
document.addEventListener("submit", (event) => {
  const words = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (words && !window.confirm(words)) event.preventDefault();
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) {
    for (const box of event.target.form.querySelectorAll("input[name=job]")) box.checked = event.target.checked;
  }
});

// -- files: sent when they are chosen or dropped
for (const form of document.querySelectorAll("form[data-upload]")) {
  const input = form.querySelector("input[type=file]");
  input.addEventListener("change", () => { if (input.files.length) form.submit(); });
  const stop = (event) => { event.preventDefault(); document.body.classList.toggle("a-dropping", event.type === "dragover"); };
  document.addEventListener("dragover", stop);
  document.addEventListener("dragleave", stop);
  document.addEventListener("drop", (event) => {
    stop(event);
    if (event.dataTransfer.files.length) { input.files = event.dataTransfer.files; form.submit(); }
  });
}
