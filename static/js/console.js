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
  for (const one of document.querySelectorAll("[data-shown-with-passkeys]")) one.hidden = false;
}

// A slider that moves a number field of its form, and sends the form when it is let go of.
for (const slider of document.querySelectorAll("input[data-slides]")) {
  const field = document.getElementById(slider.dataset.slides);
  const told = slider.form.querySelector(`output[for="${slider.id}"]`);
  const tell = () => { told.value = Number(slider.value).toFixed(2); };
  slider.closest("[hidden]").hidden = false;
  tell();
  field.addEventListener("input", () => { slider.value = field.value || 0; tell(); });
  slider.addEventListener("input", () => { field.value = slider.value; tell(); });
  slider.addEventListener("change", () => { if (slider.form.checkValidity()) slider.form.requestSubmit(); });
}
