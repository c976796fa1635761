// Small conveniences, each on its own attribute.

/** data-copy="ID": a button that puts the text of that element on the clipboard. Made here: without script it would do nothing. */
export function copyButtons() {
  if (!navigator.clipboard) return;
  for (const host of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-small";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(host.dataset.copy).textContent.trim());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    host.append(button);
  }
}

/** An open menu closes on Escape and on a click elsewhere. */
export function closeMenus() {
  const open = () => document.querySelectorAll("details.menu[open]");
  document.addEventListener("click", (event) => {
    for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of open()) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}

/** Long lists of checkboxes say how many are ticked. */
export function choices() {
  for (const list of document.querySelectorAll("[data-choices]")) {
    const says = document.getElementById(list.dataset.choices);
    const count = () => { says.textContent = `${list.querySelectorAll("input:checked").length} chosen`; };
    list.addEventListener("change", count);
    count();
  }
}
