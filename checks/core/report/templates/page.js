"use strict";
const root = document.documentElement;
const tools = document.querySelector(".tools");
const words = document.getElementById("words");
const items = [...document.querySelectorAll("[data-text]")];
const haystack = new Map(items.map(item => [item, item.dataset.text.toLowerCase()]));
const chips = [...document.querySelectorAll(".tools input[type=checkbox]")];
const selects = [...document.querySelectorAll(".tools select")];

// The state of the filter, and its form after "#?" in the address, so that a filtered view can be linked.
function state() {
  const found = new URLSearchParams();
  if (words.value.trim()) found.set("q", words.value.trim());
  for (const select of selects) if (select.value) found.set(select.name, select.value);
  for (const name of new Set(chips.map(chip => chip.name))) {
    const chosen = chips.filter(chip => chip.name === name && chip.checked).map(chip => chip.value);
    if (chosen.length) found.set(name, chosen.join(" "));
  }
  return found;
}

function assume(wanted) {
  words.value = wanted.get("q") ?? "";
  for (const select of selects) {
    const value = wanted.get(select.name) ?? "";
    select.value = [...select.options].some(option => option.value === value) ? value : "";
  }
  for (const chip of chips) chip.checked = (wanted.get(chip.name) ?? "").split(/[ ,]/).includes(chip.value);
}

function filter() {
  const wanted = state();
  const terms = (wanted.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const others = [...wanted].filter(([name]) => name !== "q").map(([name, value]) => [name, value.split(" ")]);
  let shown = 0;
  for (const item of items) {
    const fits = terms.every(term => haystack.get(item).includes(term))
      && others.every(([name, values]) => (item.dataset[name] ?? "").split(" ").some(value => values.includes(value)));
    item.hidden = !fits;
    shown += fits;
  }
  for (const group of document.querySelectorAll("[data-group]")) group.hidden = !group.querySelector("[data-text]:not([hidden])");
  document.getElementById("shown").textContent = `${shown} of ${items.length} claims shown`;
  document.getElementById("clear").hidden = !wanted.size;
  document.querySelector("main").classList.toggle("filtered", wanted.size > 0);
  return wanted;
}

function refilter() {
  const wanted = filter();
  const address = wanted.size ? `#?${wanted}` : location.hash.startsWith("#?") ? "#" : location.hash || "#";
  try { history.replaceState(null, "", address); } catch { /* some browsers allow only so many a second */ }
}

function clear() { assume(new URLSearchParams()); refilter(); }

// What the address names: a filter, or a place, which is opened and no longer hidden.
function follow() {
  if (location.hash.startsWith("#?")) { assume(new URLSearchParams(location.hash.slice(2))); filter(); tools.scrollIntoView(); return; }
  const target = document.getElementById(location.hash.slice(1));  // ids are plain letters
  if (!target) return;
  if (target.closest("[hidden]")) { assume(new URLSearchParams()); filter(); }
  for (let place = target.querySelector(":scope > details") ?? target.closest("details"); place; place = place.parentElement?.closest("details")) place.open = true;
  target.scrollIntoView();
}

words.addEventListener("input", refilter);
for (const part of [...chips, ...selects]) part.addEventListener("change", refilter);
document.getElementById("clear").addEventListener("click", () => { clear(); words.focus(); });
addEventListener("hashchange", follow);
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !event.target.closest("input[type=search], select, textarea")) { event.preventDefault(); words.focus(); words.select(); }
  if (event.key === "Escape" && (state().size || document.activeElement === words)) { clear(); words.blur(); }
});
for (const link of document.querySelectorAll("[data-filter]")) link.addEventListener("click", () => {
  assume(new URLSearchParams(link.dataset.filter));
  filter();
  setTimeout(refilter);  // after the browser went to the place that the link leads to without a script
});

// Light or dark, whatever the system says; some browsers keep nothing for a page from a file.
const theme = document.getElementById("theme");
function paint(choice) {
  if (choice) root.dataset.theme = choice; else delete root.dataset.theme;
  theme.textContent = { light: "○ Light", dark: "● Dark" }[choice] ?? "◐ Auto";
  theme.setAttribute("aria-label", `Colours: ${choice || "as the system says"}`);
}
function kept() { try { return localStorage.getItem("polyseme-theme") ?? ""; } catch { return ""; } }
theme.addEventListener("click", () => {
  const choice = { "": "light", light: "dark", dark: "" }[root.dataset.theme ?? ""];
  try { localStorage.setItem("polyseme-theme", choice); } catch { /* it holds for this view alone */ }
  paint(choice);
});

for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const command = button.parentElement.querySelector("pre");
    let done = true;
    try { await navigator.clipboard.writeText(command.textContent); } catch {
      getSelection().selectAllChildren(command);  // at least it is marked
      done = document.execCommand("copy");
    }
    button.textContent = done ? "Copied" : "Marked";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
const opener = document.getElementById("open");
opener?.addEventListener("click", () => {
  const open = opener.getAttribute("aria-pressed") !== "true";
  opener.setAttribute("aria-pressed", open);
  opener.textContent = open ? "Close all" : "Open all";
  for (const item of items) if (!item.hidden) item.querySelector("details.about").open = open;
});

// On paper nothing opens or scrolls: open the claims, and make each formula as small as the page needs.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll(".claim:not([data-verdict=not_applicable]) > details.about:not([open])")];
  for (const about of opened) about.open = true;
  for (const math of document.querySelectorAll(".formula math, .pieces math")) {
    const points = math.closest(".pieces") ? 330 : 470, size = 9.5;
    math.style.fontSize = `${Math.min(size, size * points / (math.getBoundingClientRect().width * .6 + 1))}pt`;
  }
});
addEventListener("afterprint", () => {
  for (const about of opened) about.open = false;
  for (const math of document.querySelectorAll(".formula math, .pieces math")) math.style.fontSize = "";
});

paint(kept());
for (const part of [tools, theme]) part.hidden = false;
filter();
follow();
