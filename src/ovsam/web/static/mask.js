/** Masks: COCO run lengths to pixels, and pixels to a greyscale PNG file. */

/** Lengths of the runs of 0, 1, 0, 1, ... in column order, from COCO's compressed text. */
function runLengths(counts) {
  const runs = [];
  let at = 0;
  while (at < counts.length) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = counts.charCodeAt(at++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value |= -1 << shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/**
 * A mask at any size: Uint8Array of width * height, row by row, 1 = object.
 * Only the pixels under `box` [x0, y0, x1, y1] (in the mask's own pixels) are looked at.
 */
export function rasterise({ size: [maskHeight, maskWidth], counts }, box, width, height) {
  const pixels = new Uint8Array(width * height);
  const runs = runLengths(counts);
  const scaleX = maskWidth / width;
  const scaleY = maskHeight / height;
  const left = Math.max(0, Math.floor(box[0] / scaleX));
  const top = Math.max(0, Math.floor(box[1] / scaleY));
  const right = Math.min(width, Math.ceil(box[2] / scaleX));
  const bottom = Math.min(height, Math.ceil(box[3] / scaleY));
  const rows = Int32Array.from({ length: height }, (_, y) => Math.floor((y + 0.5) * scaleY));
  let columnRun = 0; // the run at the top of the column, and where it ends
  let columnEnd = runs[0];
  for (let x = left; x < right; x++) {
    const column = Math.floor((x + 0.5) * scaleX) * maskHeight;
    while (column >= columnEnd) columnEnd += runs[++columnRun];
    let run = columnRun;
    let end = columnEnd;
    for (let y = top; y < bottom; y++) {
      const position = column + rows[y];
      while (position >= end) end += runs[++run];
      pixels[y * width + x] = run & 1;
    }
  }
  return pixels;
}

/** How many pixels a mask covers. */
export function area({ counts }) {
  return runLengths(counts).reduce((sum, run, index) => sum + (index & 1 ? run : 0), 0);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

function pngChunk(type, data) {
  const chunk = new Uint8Array(data.length + 12);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, data.length);
  chunk.set(new TextEncoder().encode(type), 4);
  chunk.set(data, 8);
  let crc = 0xffffffff;
  for (const byte of chunk.subarray(4, data.length + 8)) {
    crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  }
  view.setUint32(data.length + 8, crc ^ 0xffffffff);
  return chunk;
}

/** A PNG file (Blob) of one grey channel: 255 on the object, 0 elsewhere, at the photo's size. */
export async function maskToPng({ segmentation, box_xyxy: box }) {
  const [height, width] = segmentation.size;
  const pixels = rasterise(segmentation, box, width, height);
  const rows = new Uint8Array((width + 1) * height); // each row begins with its filter, 0 = none
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) rows[y * (width + 1) + 1 + x] = pixels[y * width + x] * 255;
  }
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(stream).arrayBuffer());
  const head = new Uint8Array(13);
  const view = new DataView(head.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  head[8] = 8; // bits per pixel; colour type 0 (grey) and the rest stay 0
  const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  const chunks = [pngChunk("IHDR", head), pngChunk("IDAT", data), pngChunk("IEND", new Uint8Array())];
  return new Blob([signature, ...chunks], { type: "image/png" });
}
