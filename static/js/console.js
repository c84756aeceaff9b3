// What the console adds where there is JavaScript. Every page works without it.
"use strict";

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

// Ids that can be copied.
const offerCopies = () => {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("button[data-copy-text][hidden]")) button.hidden = false;
};
offerCopies();
document.addEventListener("htmx:afterSettle", offerCopies);
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("button[data-copy-text]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copyText);
  button.textContent = "Copied";
});

// What a browser with passkeys can do.
if (window.PublicKeyCredential) {
  for (const one of document.querySelectorAll("[data-shown-with-script]")) one.hidden = false;
}
