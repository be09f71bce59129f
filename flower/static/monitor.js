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
      const typed = [...live.querySelectorAll("[data-keep]")].filter((field) => field.value !== field.defaultValue);
      const kept = new Map(typed.map((field) => [field.name, field.value]));
      const at = live.contains(document.activeElement) ? document.activeElement.name : null;
      live.innerHTML = rows;
      for (const box of live.querySelectorAll("input[type=checkbox]")) box.checked = chosen.has(box.value);
      for (const field of live.querySelectorAll("[data-keep]")) {
        if (kept.has(field.name)) field.value = kept.get(field.name);
        if (field.name === at) field.focus();
      }
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
  setInterval(() => { if (!document.hidden) renew(); }, 30000);  // what only the time has changed
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
  const send = () => {  // of what is refused while it is being sent, a browser hears no reason
    const bytes = [...input.files].reduce((sum, file) => sum + file.size, 0), most = Number(form.dataset.most);
    if (bytes <= most) { form.submit(); return; }
    window.alert(`That is more than ${most.toLocaleString("en")} bytes at once; send fewer, or split it.`);
    input.value = "";
  };
  input.addEventListener("change", () => { if (input.files.length) send(); });
  const stop = (event) => { event.preventDefault(); document.body.classList.toggle("a-dropping", event.type === "dragover"); };
  document.addEventListener("dragover", stop);
  document.addEventListener("dragleave", stop);
  document.addEventListener("drop", (event) => {
    stop(event);
    if (event.dataTransfer.files.length) { input.files = event.dataTransfer.files; send(); }
  });
}

// -- files for a bulk run: sent one after another, however many; those that are refused are named before it goes on
const inside = async (entry) => {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader(), found = [];
  for (;;) {  // a folder is read in parts
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found;
    for (const one of some) found.push(...await inside(one));
  }
};
for (const form of document.querySelectorAll("form[data-drop]")) {
  const input = form.querySelector("input[type=file]"), bar = form.querySelector("progress");
  const state = form.querySelector("[data-drop-state]"), list = form.querySelector("[data-drop-refused]");
  const on = form.querySelector("[data-drop-on]"), next = document.querySelector(form.dataset.drop);
  const say = (text) => { state.textContent = text; };
  const goOn = (prefix) => { next.elements.prefix.value = prefix; next.elements.failed.checked = false; next.submit(); };
  const sendOne = async (file, folder) => {
    const tooLarge = { refused: [`${file.name} is too large.`] };
    if (file.size > Number(form.dataset.most)) return tooLarge;
    const body = new FormData();
    body.append("_xsrf", form.elements._xsrf.value);
    if (folder) body.append("folder", folder);
    body.append("file", file);
    for (let tries = 1; ; tries++) {
      try {
        const answer = await fetch(form.action, { method: "POST", body, headers: { "X-Fragment": "1" }, credentials: "same-origin" });
        if (answer.ok) return answer.json();
        if (answer.status === 413) return tooLarge;
        if (answer.status < 500 && answer.status !== 429) throw new Error(`${file.name} was not taken (${answer.status}). Load the page again.`);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;  // a TypeError: the network
      }
      if (tries === 5) throw new Error(`${file.name} could not be sent. What was sent before it is in the bucket.`);
      await new Promise((done) => setTimeout(done, 1000 * tries));
    }
  };
  let busy = false;
  const send = async (files) => {
    if (busy || !files.length) return;
    busy = true;
    const whole = files.reduce((sum, file) => sum + file.size, 0) || 1;
    let folder = "", prefix = "", bytes = 0, refused = 0;
    list.replaceChildren();
    list.hidden = on.hidden = true;
    bar.hidden = false;
    try {
      for (const [number, file] of files.entries()) {
        say(`Sending ${number + 1} of ${files.length}: ${file.name}`);
        const answer = await sendOne(file, folder);
        folder = answer.folder ?? folder;
        if (!answer.refused.length) prefix = answer.prefix;
        for (const why of answer.refused) {
          refused += 1;
          list.appendChild(document.createElement("li")).textContent = why;
        }
        bytes += file.size;
        bar.value = bytes / whole;
      }
      list.hidden = !refused;
      if (!refused) { say(`All ${files.length} are sent.`); goOn(prefix); return; }
      say(prefix ? `${files.length - refused} of ${files.length} are sent; refused:` : "None of them is a document:");
      on.hidden = !prefix;
      on.onclick = () => goOn(prefix);
    } catch (error) { say(error.message); }
    busy = false;
  };
  input.addEventListener("change", () => send([...input.files]));
  const mark = (event) => { event.preventDefault(); document.body.classList.toggle("a-dropping", event.type === "dragover"); };
  document.addEventListener("dragover", mark);
  document.addEventListener("dragleave", mark);
  document.addEventListener("drop", async (event) => {
    mark(event);
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const plain = [...event.dataTransfer.files];
    try {
      send(entries.length ? (await Promise.all(entries.map(inside))).flat() : plain);
    } catch (error) { say(`Nothing is sent: a file or folder cannot be read (${error.message}).`); }
  });
}
