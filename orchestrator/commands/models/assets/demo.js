"use strict";
// Texts are set as text alone. Places are characters as Python counts them, not UTF-16 units.
const at = id => document.getElementById(id);
const NUM_COLOURS = 8;
let about = {types: []};

function made(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

const colour = type => "t" + Math.max(0, about.types.indexOf(type)) % NUM_COLOURS;
const shown = value => value === null || value === undefined ? "" : value.toFixed(3);

function places(text, words) {
  return words.split(";").map(word => word.trim()).filter(word => word).map(word => {
    const start = text.indexOf(word);
    if (start < 0 || text.indexOf(word, start + 1) >= 0)
      throw new Error(`"${word}": expected once in the post`);
    const before = Array.from(text.slice(0, start)).length;
    return [before, before + Array.from(word).length];
  });
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("the picture cannot be read"));
    reader.readAsDataURL(file);
  });
}

async function asked() {
  const post = {text: at("text").value};
  if (about.reads_context && at("context").value) post.context = at("context").value;
  if (about.task === "mre") post.entities = places(post.text, at("entities").value);
  const [picture] = about.reads_image ? at("image").files : [];
  if (picture) post.image_base64 = await base64(picture);
  return post;
}

function mark(found) {
  const characters = Array.from(found.text), parts = [];
  let last = 0;
  for (const entity of [...found.entities].sort((a, b) => a.start - b.start || b.end - a.end)) {
    if (entity.start < last) continue;  // within one that is marked; the table has it
    parts.push(characters.slice(last, entity.start).join(""));
    const marked = made("mark", characters.slice(entity.start, entity.end).join(""), colour(entity.type));
    marked.append(made("small", entity.type || "given"));
    parts.push(marked);
    last = entity.end;
  }
  parts.push(characters.slice(last).join(""));
  at("marked").replaceChildren(...parts);
}

function row(...cells) {
  const line = document.createElement("tr");
  line.append(...cells.map(cell => made("td", cell)));
  return line;
}

function show(found) {
  mark(found);
  at("found").tBodies[0].replaceChildren(...(found.entities.length
    ? found.entities.map(e => row(e.text, e.type || "given", shown(e.confidence)))
    : [row("no entities", "", "")]));
  at("relations").replaceChildren(...found.relations.map(r =>
    made("li", `${r.head.text} — ${r.type} → ${r.tail.text}  ${shown(r.confidence)}`)));
  const cosines = Object.entries(found.cosines);
  at("cosines").replaceChildren(...cosines.flatMap(([name, value]) =>
    [made("dt", name), made("dd", shown(value))]));
  at("cosines-note").hidden = !cosines.length;
  at("result").hidden = false;
}

async function answered(response) {
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

at("form").addEventListener("submit", async event => {
  event.preventDefault();
  at("go").disabled = true;
  at("error").hidden = true;
  try {
    const body = JSON.stringify(await asked());
    const headers = {"Content-Type": "application/json"};
    show(await answered(await fetch("extract", {method: "POST", headers, body})));
  } catch (error) {
    at("result").hidden = true;
    at("error").textContent = error.message;
    at("error").hidden = false;
  }
  at("go").disabled = false;
});

at("image").addEventListener("change", () => {
  const [picture] = at("image").files, preview = at("preview");
  URL.revokeObjectURL(preview.src);
  if (picture) preview.src = URL.createObjectURL(picture);
  preview.hidden = !picture;
});

fetch("about").then(answered).then(found => {
  about = found;
  document.title = about.name + " · Shap-CA";
  at("title").textContent = about.name;
  at("types").textContent = "finds " + about.types.join(", ");
  at("context-row").hidden = !about.reads_context;
  at("image-row").hidden = !about.reads_image;
  at("entities-row").hidden = about.task !== "mre";
  if (about.example && !at("text").value) {
    at("text").value = about.example.text;
    at("entities").value = about.example.entities;
  }
  document.body.dataset.ready = "yes";
});
