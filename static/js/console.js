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

// What a browser with passkeys can do.
if (window.PublicKeyCredential) {
  for (const one of document.querySelectorAll("[data-shown-with-script]")) one.hidden = false;
}
