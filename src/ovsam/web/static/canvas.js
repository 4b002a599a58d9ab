/** The photo on the stage: fits it, draws mask and prompt over it, turns gestures into events. */

import { rasterise } from "./mask.js";

const DRAG_PIXELS = 6; // a shorter movement is a click
const CASING = "rgb(15 15 18 / 0.9)";
const OFF_OBJECT = "#ef4444";
const ON_OBJECT = "#22c55e";
const MASK = { fill: [37, 99, 235, 115], edge: [255, 255, 255, 255], edgePixels: 1.5 };
const PREVIEW = { fill: [37, 99, 235, 70], edge: [191, 219, 254, 235], edgePixels: 1 };

/**
 * Events (`detail` in photo pixels):
 *   hover {x, y}, leave, point {x, y, negative}, box [x0, y0, x1, y1].
 */
export class PhotoView extends EventTarget {
  #stage;
  #frame;
  #picture;
  #canvas;
  #tag;
  #size = { width: 1, height: 1 };
  #prompt = null;
  #result = null;
  #isPreview = false;
  #layer = null; // the mask drawn at the canvas's size, made anew when either changes
  #press = null; // {x, y, pointer, negative} while a button is down
  #drag = null; // box being drawn
  #cursor = null; // keyboard cursor {x, y}
  #corner = null; // first corner of a box drawn by keyboard

  constructor({ stage, frame, picture, canvas, tag }) {
    super();
    this.#stage = stage;
    this.#frame = frame;
    this.#picture = picture;
    this.#canvas = canvas;
    this.#tag = tag;
    new ResizeObserver(() => this.#fit()).observe(stage);
    this.#watchPixelRatio();
    this.#listen();
  }

  /** Show a photo, without any prompt or mask. */
  async setPhoto(url, { width, height }, name) {
    const picture = this.#picture.cloneNode();
    picture.src = url;
    picture.alt = name;
    await picture.decode(); // until then the last photo stays
    this.#picture.replaceWith(picture);
    this.#picture = picture;
    this.#size = { width, height };
    this.#prompt = this.#result = this.#cursor = this.#corner = null;
    this.#press = this.#drag = null;
    this.#frame.hidden = false;
    this.#stage.style.setProperty("--ratio", String(width / height)); // for narrow windows
    this.#fit();
  }

  setPrompt(prompt) {
    this.#prompt = prompt;
    this.#draw();
  }

  /** Show an object's mask and name, or none. */
  setResult(result, isPreview = false) {
    this.#result = result;
    this.#isPreview = isPreview;
    this.#layer = null;
    this.#draw();
  }

  #fit() {
    if (this.#frame.hidden) return;
    const style = getComputedStyle(this.#stage);
    const room = {
      width: this.#stage.clientWidth - parseFloat(style.paddingLeft) * 2,
      height: this.#stage.clientHeight - parseFloat(style.paddingTop) * 2,
    };
    const scale = Math.min(room.width / this.#size.width, room.height / this.#size.height);
    const width = Math.max(1, Math.round(this.#size.width * scale));
    const height = Math.max(1, Math.round(this.#size.height * scale));
    this.#frame.style.width = `${width}px`;
    this.#frame.style.height = `${height}px`;
    this.#canvas.width = Math.max(1, Math.round(width * devicePixelRatio));
    this.#canvas.height = Math.max(1, Math.round(height * devicePixelRatio));
    this.#layer = null;
    this.#draw();
  }

  #watchPixelRatio() {
    const query = matchMedia(`(resolution: ${devicePixelRatio}dppx)`);
    const onChange = () => {
      this.#watchPixelRatio();
      this.#fit();
    };
    query.addEventListener("change", onChange, { once: true });
  }

  // Gestures

  #listen() {
    const canvas = this.#canvas;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => this.#onPress(event));
    canvas.addEventListener("pointermove", (event) => this.#onMove(event));
    canvas.addEventListener("pointerup", (event) => this.#onRelease(event));
    canvas.addEventListener("pointercancel", () => this.#endGesture());
    canvas.addEventListener("pointerleave", () => this.#emit("leave"));
    canvas.addEventListener("keydown", (event) => this.#onKey(event));
    canvas.addEventListener("blur", () => {
      this.#cursor = this.#corner = null;
      this.#draw();
    });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #toPhoto(event) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    const x = ((event.clientX - left) / width) * this.#size.width;
    const y = ((event.clientY - top) / height) * this.#size.height;
    return this.#inside({ x, y });
  }

  #inside({ x, y }) {
    const clamp = (value, most) => Math.round(Math.min(Math.max(value, 0), most) * 100) / 100;
    return { x: clamp(x, this.#size.width), y: clamp(y, this.#size.height) };
  }

  #onPress(event) {
    if (event.button !== 0 && event.button !== 2) return;
    this.#canvas.setPointerCapture(event.pointerId);
    const negative = event.button === 2 || event.ctrlKey;
    this.#cursor = this.#corner = null;
    this.#press = { ...this.#toPhoto(event), screen: [event.clientX, event.clientY], negative };
  }

  #onMove(event) {
    const at = this.#toPhoto(event);
    if (!this.#press) {
      this.#emit("hover", at);
      return;
    }
    const [x, y] = this.#press.screen;
    const distance = Math.hypot(event.clientX - x, event.clientY - y);
    if (!this.#press.negative && (this.#drag || distance >= DRAG_PIXELS)) {
      this.#drag = boxBetween(this.#press, at);
      this.#draw();
    }
  }

  #onRelease(event) {
    const press = this.#press;
    const box = this.#drag;
    this.#endGesture();
    if (!press) return;
    if (!box) this.#emit("point", { x: press.x, y: press.y, negative: press.negative });
    else if (box[0] < box[2] && box[1] < box[3]) this.#emit("box", box);
    if (event.pointerType !== "mouse") this.#emit("leave");
  }

  #endGesture() {
    this.#press = this.#drag = null;
    this.#draw();
  }

  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = Math.max(this.#size.width, this.#size.height) / (event.shiftKey ? 20 : 200);
    const moves = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    const start = { x: this.#size.width / 2, y: this.#size.height / 2 };
    const at = this.#cursor ?? start;
    if (moves[event.key]) {
      const [dx, dy] = moves[event.key];
      this.#cursor = this.#inside({ x: at.x + dx, y: at.y + dy });
      this.#emit("hover", this.#cursor);
    } else if (event.key === "Enter" || event.key === " ") {
      this.#cursor = at;
      this.#emit("point", { ...at, negative: false });
    } else if (event.key.toLowerCase() === "n") {
      this.#cursor = at;
      this.#emit("point", { ...at, negative: true });
    } else if (event.key.toLowerCase() === "b") {
      this.#cursor = at;
      this.#onKeyboardCorner(at);
    } else {
      return;
    }
    event.preventDefault();
    this.#draw();
  }

  #onKeyboardCorner(at) {
    if (!this.#corner) {
      this.#corner = at;
      return;
    }
    const box = boxBetween(this.#corner, at);
    if (box[0] === box[2] || box[1] === box[3]) return;
    this.#corner = null;
    this.#emit("box", box);
  }

  // Drawing, in device pixels

  #draw() {
    const context = this.#canvas.getContext("2d");
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    if (this.#result) {
      this.#layer ??= this.#maskLayer();
      context.drawImage(this.#layer, 0, 0);
    }
    this.#placeTag();
    const box = this.#drag ?? this.#keyboardBox() ?? this.#prompt?.box_xyxy;
    if (box) this.#drawBox(context, box);
    for (const point of this.#prompt?.points ?? []) this.#drawPoint(context, point);
    if (this.#cursor) this.#drawCursor(context);
  }

  #keyboardBox() {
    return this.#corner && this.#cursor ? boxBetween(this.#corner, this.#cursor) : null;
  }

  #toCanvas(x, y) {
    const { width, height } = this.#canvas;
    return [(x / this.#size.width) * width, (y / this.#size.height) * height];
  }

  #maskLayer() {
    const { width, height } = this.#canvas;
    const layer = new OffscreenCanvas(width, height);
    const { segmentation, box_xyxy: box } = this.#result;
    const style = this.#isPreview ? PREVIEW : MASK;
    const [left, top] = this.#toCanvas(box[0], box[1]).map(Math.floor);
    const [right, bottom] = this.#toCanvas(box[2], box[3]).map(Math.ceil);
    if (right <= left || bottom <= top) return layer;
    const mask = rasterise(segmentation, box, width, height);
    const image = new ImageData(right - left, bottom - top);
    const colours = new Uint32Array(image.data.buffer);
    const fill = packed(style.fill);
    const edge = packed(style.edge);
    const reach = Math.max(1, Math.round(style.edgePixels * devicePixelRatio));
    const isOff = (x, y) => x < 0 || y < 0 || x >= width || y >= height || !mask[y * width + x];
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        if (!mask[y * width + x]) continue;
        const isEdge =
          isOff(x - reach, y) || isOff(x + reach, y) || isOff(x, y - reach) || isOff(x, y + reach);
        colours[(y - top) * image.width + x - left] = isEdge ? edge : fill;
      }
    }
    layer.getContext("2d").putImageData(image, left, top);
    return layer;
  }

  #placeTag() {
    const label = this.#result?.labels[0];
    const [x0, y0, x1, y1] = this.#result?.box_xyxy ?? [0, 0, 0, 0];
    this.#tag.hidden = !label || x1 <= x0 || y1 <= y0;
    if (this.#tag.hidden) return;
    this.#tag.textContent = this.#result.none_of_these ? `${label.name}?` : label.name;
    this.#tag.classList.toggle("preview", this.#isPreview);
    const { clientWidth: width, clientHeight: height } = this.#frame;
    const left = (x0 / this.#size.width) * width;
    const top = (y0 / this.#size.height) * height;
    const most = Math.max(0, width - this.#tag.offsetWidth);
    this.#tag.style.left = `${Math.min(left, most)}px`;
    this.#tag.style.top = `${Math.max(top - this.#tag.offsetHeight - 4, 4)}px`;
  }

  #drawBox(context, [x0, y0, x1, y1]) {
    const [left, top] = this.#toCanvas(x0, y0);
    const [right, bottom] = this.#toCanvas(x1, y1);
    for (const [colour, width] of [[CASING, 4], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * devicePixelRatio;
      context.strokeRect(left, top, right - left, bottom - top);
    }
  }

  #drawPoint(context, [x, y, label]) {
    const [centreX, centreY] = this.#toCanvas(x, y);
    const unit = devicePixelRatio;
    context.beginPath();
    context.arc(centreX, centreY, 8 * unit, 0, 2 * Math.PI);
    context.fillStyle = label ? ON_OBJECT : OFF_OBJECT;
    context.shadowColor = "rgb(0 0 0 / 0.5)";
    context.shadowBlur = 4 * unit;
    context.fill();
    context.shadowBlur = 0;
    context.strokeStyle = "#fff";
    context.lineWidth = 2 * unit;
    context.stroke();
    context.beginPath();
    context.moveTo(centreX - 3.5 * unit, centreY);
    context.lineTo(centreX + 3.5 * unit, centreY);
    if (label) {
      context.moveTo(centreX, centreY - 3.5 * unit);
      context.lineTo(centreX, centreY + 3.5 * unit);
    }
    context.stroke();
  }

  #drawCursor(context) {
    const [x, y] = this.#toCanvas(this.#cursor.x, this.#cursor.y);
    for (const [colour, width] of [[CASING, 4], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width * devicePixelRatio;
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        const [near, far] = [5 * devicePixelRatio, 16 * devicePixelRatio];
        context.moveTo(x + dx * near, y + dy * near);
        context.lineTo(x + dx * far, y + dy * far);
      }
      context.stroke();
    }
  }
}

const boxBetween = (a, b) => [
  Math.min(a.x, b.x),
  Math.min(a.y, b.y),
  Math.max(a.x, b.x),
  Math.max(a.y, b.y),
];

/** RGBA as one number of ImageData's memory, whatever the machine's byte order. */
const packed = (rgba) => new Uint32Array(Uint8ClampedArray.from(rgba).buffer)[0];
