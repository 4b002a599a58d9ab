/** The server's requests. Every failure is an Error whose message is one sentence for people. */

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError("The server does not answer: is it still running?", 0);
  }
  if (response.ok) return response.json();
  const reply = await response.json().catch(() => ({}));
  throw new ApiError(reply.error ?? `The server answered ${response.status}.`, response.status);
}

function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
}

const inPath = encodeURIComponent;

/** {model, vocabulary: {name, classes, notes}, vocabularies, first_photo, max_upload_bytes} */
export const readState = () => request("/api/state");

/** {id, width, height} of the photo the server was started with. */
export const openFirstPhoto = () => request("/api/photos/first");

/** {id, width, height} of a photo file. */
export const openPhoto = (file) => request("/api/photos", { method: "POST", body: file });

/** Where the browser finds the photo's pixels, turned the right way up. */
export const pixelsUrl = (photo) => `/api/photos/${inPath(photo.id)}/pixels`;

/**
 * {name, classes, notes} of a vocabulary, ready for use; null is the server's default. The notes
 * are sentences on names that became one class, or that the model cannot read.
 */
export const prepareVocabulary = (vocabulary) => post("/api/vocabulary", { vocabulary });

/**
 * The object that a prompt points at:
 * {prompt, segmentation: {size, counts}, box_xyxy, mask_score, labels: [{name, score}]}.
 * A preview is answered as what is asked in earnest, or with 503 where the server is busy.
 */
export const predict = (photo, prompt, { vocabulary, preview = false }) =>
  post(`/api/photos/${inPath(photo.id)}/predict`, { ...prompt, vocabulary, preview });
