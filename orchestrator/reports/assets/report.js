"use strict";
// Tables sort by the value that each cell carries; charts say what a point is. Both work without.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const column = [...head.parentNode.children].indexOf(head);
    const up = head.getAttribute("aria-sort") === "descending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.children[column].dataset.value ?? row.children[column].textContent;
    const order = (a, b) => {
      const x = value(a), y = value(b);
      if (x === "" || y === "") return (x === "") - (y === "");  // what is not there comes last
      const difference = Number(x) - Number(y);
      const found = Number.isNaN(difference) ? x.localeCompare(y) : difference;
      return up ? found : -found;
    };
    body.append(...[...body.rows].sort(order));
  });
}
const tip = document.getElementById("tip");
for (const title of document.querySelectorAll("svg .hit > title")) {
  title.parentNode.dataset.tip = title.textContent;
  title.remove();  // or the browser would show a second one
}
const show = (event) => {
  const hit = event.target.closest?.(".hit");
  tip.hidden = !hit;
  if (!hit) return;
  tip.textContent = hit.dataset.tip;
  const box = tip.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
  const above = event.clientY - box.height - 14;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above > 8 ? above : event.clientY + 18}px`;
};
document.addEventListener("pointermove", show);
document.addEventListener("pointerdown", show);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
