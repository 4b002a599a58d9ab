/** Joins the parts: what the person does, what the server answers, what is shown. */

import * as api from "./api.js";
import { PhotoView } from "./canvas.js";
import { Latest } from "./latest.js";
import { maskToPng } from "./mask.js";
import { ResultPanel, percent } from "./panel.js";
import { EMPTY, History, isAnswerable, isEmpty, withBox, withPoint } from "./prompt.js";

const element = (id) => document.getElementById(id);
const view = new PhotoView({
  stage: element("stage"),
  frame: element("frame"),
  picture: element("photo"),
  canvas: element("overlay"),
  tag: element("tag"),
});
const panel = new ResultPanel({
  list: element("names"),
  empty: element("names-empty"),
  facts: element("facts"),
});
const history = new History();
const NOTES_SHOWN = 5;
const form = element("vocabulary-form");

let server = null; // what readState answered
let photo = null; // {id, width, height, name}
let vocabulary = { spec: null, name: "", classes: 0, notes: [] }; // spec null = the server's own
let result = null; // the answer to history.current

// Status line

let statusTimer = 0;

function say(text, isError = false) {
  clearTimeout(statusTimer);
  const status = element("status");
  status.textContent = text;
  status.classList.toggle("error", isError);
}

/** Say what is going on, if it takes long enough to be noticed. */
function sayWhenSlow(text) {
  clearTimeout(statusTimer);
  statusTimer = setTimeout(() => say(text), 250);
}

const sayError = (error) => say(error.message, true);

// Photos

const opening = new Latest(async ({ name, open }, isCurrent) => {
  say(`Opening ${name}…`);
  document.body.classList.add("busy");
  try {
    const opened = await open();
    if (!isCurrent()) return;
    await view.setPhoto(api.pixelsUrl(opened), opened, name);
    if (!isCurrent()) return;
    cancelQuestions();
    photo = { ...opened, name };
    history.reset();
    setResult(null);
    showPrompt();
    element("welcome").hidden = true;
    element("photo-name").textContent = `${name} · ${photo.width} × ${photo.height}`;
    say("Point at something: click on it, or drag a box around it.");
  } catch (error) {
    if (isCurrent()) sayError(error);
    element("welcome").hidden = Boolean(photo);
  } finally {
    document.body.classList.remove("busy");
  }
});

function openFile(file) {
  if (!file) return;
  const open = async () => {
    const most = server?.max_upload_bytes ?? Infinity;
    if (file.size > most) {
      throw new Error(
        `${file.name} is larger than ${Math.floor(most / 2 ** 20)} MiB, the most this server takes.`,
      );
    }
    return api.openPhoto(file);
  };
  opening.push({ name: file.name, open });
}

// Prompts and their answers

function setResult(answer, isPreview = false) {
  if (!isPreview) result = answer;
  view.setResult(answer, isPreview);
  panel.show(answer, isPreview);
  element("save-mask").disabled = element("save-json").disabled = !result;
}

function showPrompt() {
  view.setPrompt(history.current);
  element("undo").disabled = !history.canUndo;
  element("clear").disabled = isEmpty(history.current);
}

const asking = new Latest(async (prompt, isCurrent) => {
  sayWhenSlow("Looking…");
  try {
    const answer = await api.predict(photo, prompt, { vocabulary: vocabulary.spec });
    if (!isCurrent()) return;
    setResult(answer);
    const [best] = answer.labels;
    const doubt = answer.none_of_these ? "Perhaps none of these; at best " : "";
    say(best ? `${doubt}${best.name}, ${percent(best.score)}.` : "No name found.");
  } catch (error) {
    if (!isCurrent()) return;
    setResult(null);
    sayError(error);
  }
});

const previewing = new Latest(async ({ x, y }, isCurrent) => {
  const options = { vocabulary: vocabulary.spec, preview: true };
  try {
    const answer = await api.predict(photo, { points: [[x, y, 1]] }, options);
    if (isCurrent()) setResult(answer, true);
  } catch (error) {
    if (isCurrent() && error.status !== 503) sayError(error);
  }
});

function cancelQuestions() {
  previewing.cancel();
  asking.cancel();
}

/** Ask anew about the current prompt: it changed, or the vocabulary did. */
function ask() {
  cancelQuestions();
  const prompt = history.current;
  if (isAnswerable(prompt)) {
    asking.push(prompt);
    return;
  }
  setResult(null);
  say(isEmpty(prompt) ? "Point at something." : "Now click on the object itself.");
}

function change(prompt) {
  history.push(prompt);
  showPrompt();
  ask();
}

function undo() {
  if (!history.canUndo) return;
  history.undo();
  showPrompt();
  ask();
}

function clear() {
  if (!isEmpty(history.current)) change(EMPTY);
}

view.addEventListener("hover", ({ detail }) => {
  if (photo && isEmpty(history.current)) previewing.push(detail);
});
view.addEventListener("leave", () => {
  previewing.cancel();
  if (isEmpty(history.current)) setResult(null);
});
view.addEventListener("point", ({ detail }) => {
  const sign = Number(document.querySelector("input[name=sign]:checked").value);
  change(withPoint(history.current, detail, detail.negative ? 0 : sign));
});
view.addEventListener("box", ({ detail }) => change(withBox(detail)));

// Vocabulary

async function applyVocabulary() {
  const field = element("vocabulary");
  const typed = field.value.trim();
  const spec = typed === "" ? null : typed;
  noteVocabulary("Reading the names…");
  try {
    const reply = await api.prepareVocabulary(spec);
    if (field.value.trim() !== typed) return; // edited meanwhile: the next answer counts
    vocabulary = { spec, ...reply };
    showVocabulary();
    if (photo) ask();
  } catch (error) {
    noteVocabulary(`${error.message} Still in use: ${countNames(vocabulary)}.`, true);
  }
}

function showVocabulary() {
  noteVocabulary(`In use: ${countNames(vocabulary)}.`);
  const { notes } = vocabulary;
  const more = notes.length - NOTES_SHOWN;
  const shown = notes.slice(0, NOTES_SHOWN).concat(more > 0 ? `And ${more} more.` : []);
  element("vocabulary-notes").replaceChildren(...shown.map(noteItem));
}

/** A note has names in it as somebody typed them: text only, never markup. */
function noteItem(note) {
  const item = document.createElement("li");
  item.textContent = note;
  return item;
}

const countNames = ({ name, classes }) =>
  `${name}, ${classes.toLocaleString("en")} ${classes === 1 ? "name" : "names"}`;

function noteVocabulary(text, isError = false) {
  const note = element("vocabulary-note");
  note.textContent = text;
  note.classList.toggle("error", isError);
  element("vocabulary-notes").replaceChildren();
  element("vocabulary").setAttribute("aria-invalid", String(isError));
}

// Downloads

function download(blob, fileName) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const stem = () => photo.name.replace(/\.[^.]*$/, "") || "photo";

async function saveMask() {
  download(await maskToPng(result), `${stem()}-mask.png`);
}

/** The same layout as `ovsam segment --json` writes. */
function saveJson() {
  const record = {
    model: server.model,
    vocabulary: {
      name: vocabulary.name,
      classes: vocabulary.classes,
      notes: vocabulary.notes,
    },
    photo: photo.name,
    size: { width: photo.width, height: photo.height },
    objects: [result],
  };
  const text = `${JSON.stringify(record, null, 2)}\n`;
  download(new Blob([text], { type: "application/json" }), `${stem()}.json`);
}

// Controls

element("file").addEventListener("change", ({ target }) => {
  openFile(target.files[0]);
  target.value = ""; // so that the same file can be opened again
});
element("undo").addEventListener("click", undo);
element("clear").addEventListener("click", clear);
element("save-mask").addEventListener("click", () => saveMask().catch(sayError));
element("save-json").addEventListener("click", saveJson);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  applyVocabulary();
});

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input[type=text]")) return; // the field has its own undo
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
  } else if (event.key === "Escape") {
    clear();
  }
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  openFile(event.dataTransfer.files[0]);
});

async function start() {
  server = await api.readState();
  vocabulary = { spec: null, ...server.vocabulary };
  element("model").textContent = server.model;
  element("vocabularies").replaceChildren(...server.vocabularies.map((name) => new Option(name)));
  showVocabulary();
  if (server.first_photo) {
    opening.push({ name: server.first_photo, open: api.openFirstPhoto });
  } else {
    element("welcome").hidden = false;
    say("Ready.");
  }
}

start().catch(sayError);
