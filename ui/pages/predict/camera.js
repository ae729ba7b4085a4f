// Looks through the camera of this browser: one picture at a time goes to the server and comes back drawn; what comes meanwhile is let go.
const LONGEST = 960, QUALITY = 0.8, PAUSE_MS = 120;
const root = element.querySelector('.lb-camera');
const make = (name, attributes = {}, ...inner) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...inner);
  return made;
};
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const asked = () => { try { return JSON.parse(props.value || '{}'); } catch { return {}; } };
const image = make('img', {hidden: true, alt: '', decoding: 'sync'}), note = make('p'), said = make('p', {className: 'lb-muted lb-small'});
const button = make('button', {type: 'button', className: 'lb-camera-button'});
const video = make('video', {muted: true, playsInline: true}), canvas = make('canvas');
said.setAttribute('role', 'status');
root.append(make('div', {className: 'lb-well lb-result lb-camera-well'}, image, note), make('div', {className: 'lb-camera-row'}, button, said));
let stream = null, turn = 0;

const texts = () => asked().texts || {};
const show = (message, bad = false) => {
  note.textContent = message;
  note.hidden = !message;
  note.classList.toggle('lb-camera-bad', bad);
  note.setAttribute('role', bad ? 'alert' : 'status');
};
const paint = () => {
  button.textContent = (stream ? texts().stop : texts().start) || '';
  button.classList.toggle('lb-camera-on', Boolean(stream));
};

const stop = (message, bad = false) => {
  turn += 1;
  stream?.getTracks().forEach((track) => track.stop());
  stream = video.srcObject = null;
  image.hidden = true;
  said.textContent = '';
  show(message ?? (texts().empty || ''), bad);
  paint();
};

const REASONS = {NotAllowedError: 'denied', SecurityError: 'denied', NotFoundError: 'none', OverconstrainedError: 'none', NotReadableError: 'taken', AbortError: 'taken'};

const start = async () => {
  turn += 1;
  const mine = turn;
  if (!navigator.mediaDevices?.getUserMedia) { stop(texts().insecure, true); return; }
  show(texts().starting);
  try {
    const found = await navigator.mediaDevices.getUserMedia({video: {width: {ideal: 1280}, height: {ideal: 720}}, audio: false});
    if (mine !== turn) { found.getTracks().forEach((track) => track.stop()); return; }
    stream = found;
    stream.getVideoTracks()[0].addEventListener('ended', () => { if (mine === turn) stop(texts().lost, true); });
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    if (mine === turn) stop(texts()[REASONS[error.name] || 'failed'], true);
    return;
  }
  paint();
  show(texts().loading);
  look(mine);
};

const snapshot = () => {
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
  canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
  canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL('image/jpeg', QUALITY);
};

// Pictures a second, over the last few.
const pace = () => {
  const times = [];
  return () => {
    times.push(performance.now());
    if (times.length > 12) times.shift();
    return times.length < 2 ? '' : ((times.length - 1) * 1000 / (times.at(-1) - times[0])).toFixed(1);
  };
};

const look = async (mine) => {
  const rate = pace();
  while (mine === turn) {
    if (root.offsetParent === null) { stop(); return; }  // somebody went to another page of the app
    if (document.hidden || !video.videoWidth) { await wait(PAUSE_MS); continue; }
    let answer = null;
    try {
      answer = await server.camera_look({image: snapshot(), values: asked().values});
    } catch (error) {
      console.warn('camera', error);
    }
    if (mine !== turn) return;
    if (answer?.busy) { await wait(PAUSE_MS); continue; }
    if (!answer?.image) { stop(answer?.error || texts().failed, true); return; }
    image.src = answer.image;
    image.hidden = false;
    show('');
    const speed = rate();
    said.textContent = [answer.said, speed && texts().rate.replace('%', speed)].filter(Boolean).join(' · ');
  }
};

button.addEventListener('click', () => { if (stream) stop(); else start(); });
const told = () => {
  if (!asked().on) { if (stream) stop(); return; }
  if (!stream && !note.classList.contains('lb-camera-bad')) show(texts().empty || '');
  paint();
};
watch('value', told);
told();  // the value may have come before this element was there to watch it
