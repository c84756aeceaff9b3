// What the console adds where there is JavaScript. Every page works without it.
"use strict";

function isTyping(target) {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;
}

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target)) {
    const find = document.getElementById("find");
    if (find) {
      event.preventDefault();
      find.focus();
      find.select();
    }
  }
  if (event.key === "Escape") {
    for (const open of document.querySelectorAll("details.dropdown[open], details.menu[open]")) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  }
});

// The review queue: J and K go from one to the next, A lets in, E puts right, R turns down.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  const key = event.key.toLowerCase();
  if (!"jkaer".includes(key) || key.length !== 1) return;
  const items = [...document.querySelectorAll("[data-review] > li")];
  if (items.length === 0) return;
  const at = items.findIndex((item) => item.contains(document.activeElement));
  if (key === "j" || key === "k") {
    event.preventDefault();
    const next = at < 0 ? 0 : Math.min(Math.max(at + (key === "j" ? 1 : -1), 0), items.length - 1);
    items[next].focus();
    return;
  }
  if (at < 0) return;
  if (key === "a") {
    items[at].querySelector('button[value="approve"]').click();
    return;
  }
  const part = items[at].querySelector(`details[data-key="${key}"]`);
  if (part) {
    event.preventDefault();
    part.open = true;
    part.querySelector("textarea, select").focus();
  }
});

document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.dropdown[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

// A secret that is shown once: a button that copies it, where the browser lets pages do that.
for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    await navigator.clipboard.writeText(field.value);
    button.textContent = "Copied";
  });
}

// What a browser with passkeys can do.
if (window.PublicKeyCredential) {
  for (const one of document.querySelectorAll("[data-shown-with-script]")) one.hidden = false;
}
