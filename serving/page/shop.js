// The shop page. Talks to the same public HTTP API as any client; no library, no build step.
"use strict";

const state = {
  user: null,          // userId of a household, or null
  anonymous: null,     // anonymousId of a newcomer
  anchors: [],         // items just acted on, newest first
  asOf: null,          // ISO time when rewound
  firstAt: null,       // when this profile begins, ms
  profile: null,       // the view last shown
  loads: 0,            // counts refreshes; only the newest may draw
  writeKey: document.cookie.match(/(?:^|; )everfold_write_key=([^;]+)/)?.[1] ?? "",
};
const SEEN_SHARE = 0.5, SEEN_MS = 1000, ROW_SIZE = 10;

const $ = (id) => document.getElementById(id);

function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

async function fetched(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.message ?? `${path} answered ${answer.status}`);
  return { body, token: answer.headers.get("x-everfold-token") };
}

const call = async (path) => (await fetched(path)).body;

function complain(error) {
  $("problem").textContent = error ? `${error.message ?? error}` : "";
  $("problem").hidden = !error;
}

// ---- who -------------------------------------------------------------------------------------------------------

function identity() {
  return state.user ? { userId: state.user } : { anonymousId: state.anonymous };
}

function identityQuery() {
  return state.user ? { user_id: state.user } : { anonymous_id: state.anonymous };
}

function profilePath() {
  return state.user
    ? `/v1/profiles/${encodeURIComponent(state.user)}`
    : `/v1/profiles/${encodeURIComponent(state.anonymous)}?anonymous=true`;
}

// Who enters or leaves a segment is told as it happens, by facts and by time.
let transitions = null;
function listen() {
  transitions?.close();
  const who = state.user ? { user_id: state.user } : { user_id: state.anonymous, anonymous: "true" };
  transitions = new EventSource(`/v1/segments/stream?${new URLSearchParams(who)}`);
  for (const told of ["segment_entered", "segment_exited"]) transitions.addEventListener(told, () => refreshSegments());
}
// A browser opens six connections to one address, and a stream is one of them: only the tab in front listens.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return transitions?.close();
  listen();
  refreshSegments();
});

async function become(user, anonymous) {
  Object.assign(state, { user, anonymous, anchors: [], asOf: null, firstAt: null, profile: null });
  sessionStorage.setItem("everfold", JSON.stringify({ user, anonymous }));
  $("household").value = user ?? "";
  $("rewind").value = $("rewind").max;
  $("changed").replaceChildren(element("li", "Click something and watch.", "quiet"));
  listen();
  await refresh();
}

// ---- events ----------------------------------------------------------------------------------------------------

async function send(events) {
  const now = new Date().toISOString();
  const batch = events.map((event) => ({
    messageId: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`,
    type: "track", timestamp: now, ...identity(), ...event,
  }));
  return fetched("/v1/batch", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Write-Key": state.writeKey },
    body: JSON.stringify({ batch, sentAt: now }),
  });
}

const ACTS = {
  view: { label: "View", event: "Product Viewed", done: "viewed" },
  cart: { label: "Add", event: "Product Added", done: "added to cart" },
  buy: { label: "Buy", event: "Order Completed", done: "bought" },
};

function factOf(act, item, listId) {
  const product = { product_id: item.item_id, name: item.title, category: item.category, brand: item.brand, price: item.price };
  const list = listId ? { list_id: listId } : {};
  if (act === "buy") return { event: ACTS.buy.event, properties: { ...list, order_id: `web-${Date.now()}`, products: [{ ...product, quantity: 1 }] } };
  return { event: ACTS[act].event, properties: { ...list, ...product, quantity: 1 } };
}

async function perform(act, item, listId) {
  if (state.asOf) return complain("You are looking at an earlier moment: go back to now to act.");
  complain(null);
  try {
    const written = await send([factOf(act, item, listId)]);
    state.anchors = [item.item_id, ...state.anchors.filter((id) => id !== item.item_id)].slice(0, 3);
    await refresh({ after: written.token, did: `${item.title || item.item_id} ${ACTS[act].done}`, focus: [act, item.item_id] });
  } catch (error) { complain(error); }
}

// An item counts as seen when half of it was visible for a second.
const waiting = new Map();
const seen = new Set();
let seenBatch = [], seenTimer = 0;

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const key = `${entry.target.dataset.list}/${entry.target.dataset.item}`;
    if (entry.intersectionRatio >= SEEN_SHARE && entry.target.dataset.list && !seen.has(key)) {
      if (!waiting.has(key)) waiting.set(key, setTimeout(() => noteSeen(key, entry.target.dataset), SEEN_MS));
    } else { clearTimeout(waiting.get(key)); waiting.delete(key); }
  }
}, { threshold: [0, SEEN_SHARE] });

function noteSeen(key, { list, item }) {
  waiting.delete(key);
  seen.add(key);
  seenBatch.push([list, item]);
  clearTimeout(seenTimer);
  seenTimer = setTimeout(flushSeen, 300);
}

async function flushSeen() {
  const lists = new Map();
  for (const [list, item] of seenBatch) lists.set(list, [...(lists.get(list) ?? []), item]);
  seenBatch = [];
  if (state.asOf || !lists.size) return;
  const facts = [...lists].map(([list_id, items]) => ({
    event: "Product List Viewed",
    properties: { list_id, products: items.map((product_id, n) => ({ product_id, position: n + 1 })) },
  }));
  await send(facts).catch(complain);
}

// ---- drawing ---------------------------------------------------------------------------------------------------

function card(item, listId, reason, moved) {
  const node = element("li", undefined, moved ? "card moved" : "card");
  node.dataset.item = item.item_id;
  if (listId) node.dataset.list = listId;
  node.append(element("h4", item.title || item.item_id));
  node.append(element("p", (item.category ?? "").split(" > ").slice(-2).join(" · "), "where"));
  node.append(element("p", reason, "why"));
  if (item.price) node.append(element("p", item.price.toLocaleString(undefined, { style: "currency", currency: "USD" }), "price"));
  const acts = element("div", undefined, "acts");
  for (const [act, { label }] of Object.entries(ACTS)) {
    const button = element("button", label);
    button.type = "button";
    button.dataset.act = act;
    button.setAttribute("aria-label", `${label} ${item.title || item.item_id}`);
    button.addEventListener("click", () => perform(act, item, listId));
    acts.append(button);
  }
  node.append(acts);
  if (moved) setTimeout(() => node.classList.remove("moved"), 1500);
  return node;
}

function drawRow(name, answer) {
  const list = document.querySelector(`[data-row=${name}]`);
  const before = [...list.children].map((node) => node.dataset.item);
  const first = before.length === 0;
  list.replaceChildren(...answer.items.map((item, n) =>
    card({ item_id: item.item_id, ...item.item }, answer.logged ? answer.recommendation_id : "", item.reason, !first && before[n] !== item.item_id)));
  for (const node of list.children) watcher.observe(node);
  const empty = document.querySelector(`[data-empty=${name}]`);
  if (empty) empty.hidden = answer.items.length > 0;
}

function rows(id, entries, nothing) {
  $(id).replaceChildren(...(entries.length ? entries : [[nothing, ""]]).map(([label, value]) => {
    const line = element("li");
    line.append(element("span", label), element("span", value));
    return line;
  }));
}

const ago = (ms) => {
  const minutes = Math.max(0, Math.round(((state.asOf ? Date.parse(state.asOf) : Date.now()) - ms) / 60000));
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 2880) return `${Math.round(minutes / 60)} h ago`;
  return `${Math.round(minutes / 1440)} days ago`;
};

function drawProfile(view) {
  $("profile-who").textContent = state.user ? `of household ${state.user}` : "of a newcomer";
  $("profile-facts").textContent = view.version
    ? `Version ${view.version}, first seen ${ago(view.first_at)}, last ${ago(view.last_at)}.`
    : "Version 0: nothing is known yet.";
  rows("interests", (view.interests ?? []).slice(0, 10).map(({ key, value }) => [key.replace(/^(category|brand|attr):/, ""), value.toFixed(2)]), "none yet");
  rows("recent", (view.recent ?? []).slice(0, 8).map((entry) => [`${entry.title ?? entry.item} (${entry.signal})`, ago(entry.at)]), "none yet");
  rows("purchases", (view.purchases ?? []).slice(0, 8).map((entry) => [`${entry.title ?? entry.item} × ${entry.count}`, ago(entry.last_at)]), "none yet");
  rows("engagement", Object.entries(view.engagement ?? {}).filter(([, value]) => typeof value === "number" && value)
    .map(([label, value]) => [label.replaceAll("_", " "), Number.isInteger(value) ? `${value}` : value.toFixed(2)]), "none yet");
}

function drawSegments(view) {
  rows("segments", view.segments.map(({ name, since }) => [name, ago(Date.parse(since))]), "none yet");
  view.segments.forEach(({ evidence }, n) => {
    const values = Object.entries(evidence?.values ?? {}).map(([what, value]) => `${what} = ${value}`);
    $("segments").children[n].title = values.join("\n");
  });
}

function drawChange(before, after, did) {
  const lines = [did, `version ${before?.version ?? 0} → ${after.version ?? 0}`];
  const old = new Map((before?.interests ?? []).map(({ key, value }) => [key, value]));
  const grown = (after.interests ?? []).map(({ key, value }) => [key, value - (old.get(key) ?? 0)])
    .filter(([, by]) => Math.abs(by) > 0.01).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 4);
  for (const [key, by] of grown) lines.push(`${key.replace(/^(category|brand|attr):/, "")} ${by > 0 ? "+" : ""}${by.toFixed(2)}`);
  $("changed").replaceChildren(...lines.map((line) => element("li", line)));
}

// ---- asking ----------------------------------------------------------------------------------------------------

async function refresh({ after, did, focus } = {}) {
  const load = ++state.loads;
  const common = { ...identityQuery(), n: ROW_SIZE, details: "true" };
  if (after) common.after = after;
  if (state.asOf) common.as_of = state.asOf;
  const anchors = state.asOf ? {} : { items: state.anchors.join(",") };
  const anchored = !state.asOf && state.anchors.length > 0;
  const ask = (extra) => call(`/v1/recommend?${new URLSearchParams({ ...common, ...extra })}`);
  const path = profilePath();
  const profileQuery = new URLSearchParams({ ...(after && { after }), ...(state.asOf && { as_of: state.asOf }), details: "true" });
  try {
    const [again, foryou, view] = await Promise.all([
      ask({ surface: "buy_again" }),
      ask(anchored ? { surface: "product", ...anchors } : { surface: "home" }),
      call(`${path}${path.includes("?") ? "&" : "?"}${profileQuery}`),
    ]);
    if (load !== state.loads) return;
    $("foryou-title").textContent = anchored ? "Goes with what you just did" : "For you";
    drawRow("again", again);
    drawRow("foryou", foryou);
    if (did) drawChange(state.profile, view, did);
    if (!state.asOf) { state.profile = view; state.firstAt = view.first_at ?? null; }
    drawProfile(view);
    refreshSegments();
    if (focus) (document.querySelector(`[data-item="${CSS.escape(focus[1])}"] [data-act=${focus[0]}]`) ?? $("foryou-title")).focus?.();
    complain(null);
    document.body.dataset.loads = String(load);
  } catch (error) { if (load === state.loads) complain(error); }
}

async function refreshSegments() {
  const load = state.loads;
  const [path, rest] = profilePath().split("?");
  const query = new URLSearchParams({ ...(rest && { anonymous: "true" }), ...(state.asOf && { as_of: state.asOf }) });
  try {
    const view = await call(`${path}/segments?${query}`);
    if (load === state.loads) drawSegments(view);
  } catch (error) { if (load === state.loads) complain(error); }
}

async function find(query) {
  $("found").hidden = !query;
  if (!query) return;
  try {
    const found = await call(`/v1/items?${new URLSearchParams({ q: query, limit: ROW_SIZE })}`);
    $("found-title").textContent = found.items.length ? `Found for “${query}”` : `Nothing found for “${query}”`;
    document.querySelector("[data-row=found]").replaceChildren(...found.items.map((item) => card({ ...item, item_id: item.item_id ?? item.item }, "", "Matches your search", false)));
  } catch (error) { complain(error); }
}

// ---- rewinding -------------------------------------------------------------------------------------------------

let rewindTimer = 0;
function rewind() {
  const share = Number($("rewind").value) / Number($("rewind").max);
  const from = state.firstAt ?? Date.now();
  const at = share >= 1 ? null : new Date(from + share * (Date.now() - from));
  state.asOf = at && at.toISOString();
  $("rewind-at").textContent = at ? at.toLocaleString() : "now";
  $("rewound").hidden = !at;
  clearTimeout(rewindTimer);
  rewindTimer = setTimeout(() => refresh(), 150);
}

$("rewind").addEventListener("input", rewind);
$("rewind-now").addEventListener("click", () => { $("rewind").value = $("rewind").max; rewind(); });
$("who").addEventListener("submit", (event) => { event.preventDefault(); const id = $("household").value.trim(); if (id) become(id, null); });
$("newcomer").addEventListener("click", () => become(null, `web-${crypto.randomUUID?.() ?? Date.now()}`));
$("find").addEventListener("submit", (event) => { event.preventDefault(); find($("query").value.trim()); });

const last = JSON.parse(sessionStorage.getItem("everfold") ?? "null");
if (last) become(last.user, last.anonymous);
else become(null, `web-${crypto.randomUUID?.() ?? Date.now()}`);
