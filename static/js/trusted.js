// What scripts may write into a page: markup without scripts, handlers and script addresses of its own. Browsers that
// know Trusted Types ask here before each such write (the policy says so); the others rely on the rest of the policy.
"use strict";

if (window.trustedTypes) {
  const inert = window.trustedTypes.createPolicy("inert", { createHTML: (markup) => markup });
  const addresses = new Set(["action", "data", "formaction", "href", "src", "xlink:href"]);
  const harmful = ({ name, value }) =>
    /^(on|hx-on|data-hx-on|srcdoc$)/.test(name) ||
    (addresses.has(name) && /^(javascript|vbscript|data):/i.test(value.replace(/[\s\u0000-\u001f]/g, "")));
  // htmx wraps what it was sent in a template, whose content is a tree of its own.
  function* elementsOf(tree) {
    for (const element of tree.querySelectorAll("*")) {
      yield element;
      if (element instanceof HTMLTemplateElement) yield* elementsOf(element.content);
    }
  }
  window.trustedTypes.createPolicy("default", {
    createHTML(markup) {
      const read = new DOMParser().parseFromString(inert.createHTML(markup), "text/html");
      for (const element of elementsOf(read)) {
        if ([...element.attributes].some(harmful)) throw new TypeError("Markup with a script in it was refused.");
      }
      return markup;
    },
  });
}
