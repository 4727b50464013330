// The page that an invitation's link opens: says who invites to what, asks for a name, and goes on. The token stands
// in the address after '#', which no browser sends; it goes to the server in the body of two calls and nowhere else.

/** Milliseconds until a server that did not answer is asked again; it doubles up to the last. */
const RETRY_FIRST = 1000;
const RETRY_LAST = 15_000;
/** Where an attempt is kept for when the page is loaded again before it was answered. */
const ATTEMPT = 'rejoin.join.attempt';

const element = (id) => document.getElementById(id);
const main = document.querySelector('main');
const [title, text, from, places] = ['title', 'text', 'from', 'places'].map(element);
const [form, field, input, wrong] = ['form', 'field', 'name', 'wrong'].map(element);
const [go, other, again] = ['go', 'other', 'again'].map(element);

/** What is said when nobody can come in by the link any more, by the end of the problem's type. */
const OVER = {
  'invitation-used': ['Already used', 'This invitation has let in as many as it was for. Ask for another.'],
  'invitation-expired': ['Too late', 'This invitation has expired. Ask for another.'],
  'invitation-ended': ['No longer open', 'This invitation was taken back. Ask for another.'],
  'invitation-documents-gone': ['It is over', 'What you were invited to is not there any more.'],
  'invitation-unknown': ['Not a whole link', 'Open the link as it was sent to you, or scan the code again.'],
};

let token = '';
let invitation = null;
let asOther = false;
let retryIn = RETRY_FIRST;
let retryTimer;

/** An answer that is a refusal: what kind, and in which words. */
class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `The server answered ${status}.`);
    this.status = status;
    this.kind = String(problem.type ?? '').split('/').pop();
    this.field = problem.errors?.[0]?.field;
    this.why = problem.errors?.[0]?.detail;
  }
}

async function call(path, body, headers = {}) {
  const answer = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    credentials: 'same-origin',
    cache: 'no-store',
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, said);
  return said;
}

function show(state, heading, words, { busy = false } = {}) {
  main.dataset.state = state;
  main.setAttribute('aria-busy', String(busy));
  title.textContent = heading;
  text.textContent = words;
  document.title = heading;
  text.hidden = !words;
  form.hidden = state !== 'asking';
  again.hidden = true;
  if (state !== 'asking') from.hidden = places.hidden = true;
}

function showOver(kind) {
  show('over', ...OVER[kind]);
}

/** The server did not answer, or cannot now: asks again by itself, and when the person says so. */
function showUnreachable(words, retry) {
  show('waiting', 'Not reachable', words);
  again.hidden = false;
  clearTimeout(retryTimer);
  const now = () => {
    clearTimeout(retryTimer);
    window.removeEventListener('online', now);
    retry();
  };
  again.onclick = () => { retryIn = RETRY_FIRST; now(); };
  window.addEventListener('online', now);
  retryTimer = setTimeout(now, retryIn);
  retryIn = Math.min(retryIn * 2, RETRY_LAST);
}

/** Whether a call failed in a way that may be over soon. Says so then. */
function isPassing(error, retry) {
  if (error instanceof Refused && error.status !== 429 && error.status < 500) return false;
  const words = error instanceof Refused
    ? (error.status === 429 ? 'Too many tries at once. This page goes on in a moment.'
      : 'The server cannot let you in right now. This page keeps trying.')
    : 'The server does not answer. Are you in its network? This page keeps trying.';
  showUnreachable(words, retry);
  return true;
}

const called = ({ title: own, collection, id }) => own ?? `${collection}/${id}`;

function showAsking() {
  const { invitedBy, documents, knownAs, user, seat } = invitation;
  from.textContent = `${capital(invitedBy)} invites you${documents?.length === 1 ? ' to' : ''}`;
  const heading = documents?.length === 1 ? called(documents[0]) : 'Come in';
  const known = knownAs !== null && !asOther;
  let words = '';
  if (seat === 'any') words = 'You get a seat when you join.';
  else if (seat !== null) words = `Seat ${seat + 1} is kept for you.`;
  if (user !== null) words = `You come in as ${user}. ${words}`.trim();
  show('asking', heading, words);
  from.hidden = false;
  places.hidden = !(documents?.length > 1);
  places.replaceChildren(...(documents ?? []).map((one) => {
    const item = document.createElement('li');
    item.textContent = called(one);
    return item;
  }));
  field.hidden = invitation.name === null || known;
  other.hidden = !known;
  go.textContent = known ? `Join as ${knownAs}` : 'Join';
  go.disabled = false;
  setWrong('');
  if (!field.hidden) input.focus();
}

function setWrong(words) {
  wrong.textContent = words;
  wrong.hidden = !words;
  input.setAttribute('aria-invalid', String(Boolean(words)));
}

const capital = (words) => words.charAt(0).toUpperCase() + words.slice(1);

/** A path of this server's pages; null: none, or another server's. */
function target(path) {
  if (typeof path !== 'string' || !path.startsWith('/')) return null;
  try {
    const url = new URL(path, location.origin);
    return url.origin === location.origin ? url.pathname + url.search + url.hash : null;
  } catch {
    return null;
  }
}

async function goOn(to) {
  sessionStorage.removeItem(ATTEMPT);
  const wanted = target(to) ?? target(new URLSearchParams(location.search).get('to'));
  // The token is of no more use, and need not stay in the browser's history.
  history.replaceState(null, '', '/join');
  const front = wanted ?? await fetch('/', { method: 'HEAD' }).then((answer) => (answer.ok ? '/' : null), () => null);
  if (front !== null) {
    show('joined', 'You are in', 'One moment.', { busy: true });
    location.replace(front);
    return;
  }
  show('joined', 'You are in', 'Go on to the page that your host told you about. It knows this browser now.');
}

/** The same as long as an attempt may have come through, so that it lets nobody in twice. */
function attemptKey() {
  const of = token.slice(-12);
  const kept = JSON.parse(sessionStorage.getItem(ATTEMPT) ?? 'null');
  if (kept?.of === of) return kept.key;
  const key = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(24))));
  sessionStorage.setItem(ATTEMPT, JSON.stringify({ of, key }));
  return key;
}

async function join() {
  const name = field.hidden ? undefined : input.value.trim();
  if (name === '') {
    setWrong('Say what you want to be called.');
    input.focus();
    return;
  }
  go.disabled = true;
  setWrong('');
  try {
    const joined = await call('/api/v1/invitations/exchange', { token, ...(name && { name }) },
      { 'idempotency-key': attemptKey() });
    await goOn(joined.to);
  } catch (error) {
    go.disabled = false;
    if (isPassing(error, join)) return;
    // Nobody came in by it, and nobody will.
    sessionStorage.removeItem(ATTEMPT);
    if (OVER[error.kind]) return showOver(error.kind);
    if (error.field === 'name' && field.hidden) {
      asOther = true;
      return showAsking();
    }
    showAsking();
    if (error.kind === 'name-taken') setWrong('Somebody there has this name already. Take another.');
    else if (error.field === 'name') setWrong(`Your name ${error.why}.`);
    else setWrong(capital(error.message));
    if (!field.hidden) input.select();
  }
}

async function look() {
  token = location.hash.slice(1);
  if (token === '') return showOver('invitation-unknown');
  show('loading', 'One moment', 'Looking at your invitation.', { busy: true });
  try {
    invitation = await call('/api/v1/invitations/look', { token });
    retryIn = RETRY_FIRST;
    if (invitation.joined) return await goOn(invitation.to);
    showAsking();
  } catch (error) {
    if (isPassing(error, look)) return;
    if (OVER[error.kind]) return showOver(error.kind);
    if (error.status === 400) return showOver('invitation-unknown');
    show('over', 'This does not work', capital(error.message));
  }
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  void join();
});
input.addEventListener('input', () => setWrong(''));
other.addEventListener('click', () => {
  asOther = true;
  showAsking();
});
window.addEventListener('hashchange', () => {
  asOther = false;
  void look();
});
void look();
