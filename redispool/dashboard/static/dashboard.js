// The page: asks for the figures twice a second, keeps those of the last minutes, and shows them.
// It asks again while it waits: the worker that was asked may have no thread left, others have.
// Text is set as text, never as markup: names of threads and lines of code come from elsewhere.

import { chart, draw } from "./charts.js";
import { History, KEPT } from "./history.js";

const LOOK_EVERY = 500, FLEET_EVERY = 10_000;   // milliseconds
const ANSWER_WITHIN = 2500;     // of a look; so five at most are under way, and a browser has six lines
const SILENT_AFTER = 1500;      // with the half second before, the page tells of it within two
const $ = (id) => document.getElementById(id);
const histories = new Map();    // pool → its History
const cards = new Map();        // pool → the nodes of its card
let paused = false;
let asked = 0, answered = 0;    // numbers of looks
let heard = performance.now(), heardAt = new Date();
let ticked = performance.now(); // when it was last time for a look

// What is drawn of a pool: the figure, what it is in words, how high the chart is at least, when it has a colour.
const MEASURES = [
  { name: "in use", of: (now) => now.in_use, text: (_, s) => `${s.in_use} / ${s.max_connections}`, top: (s) => s.max_connections },
  { name: "waiting", of: (now) => now.waiting, text: (_, s) => s.waiting, top: () => 1, bad: (value) => value > 0 },
  { name: "wait time", of: meanWait, text: duration, top: () => 0.001, warm: (value) => value > 0.1 },
  { name: "commands/s", of: rateOf((stats) => stats.commands_total), text: short, top: () => 1 },
  { name: "errors/s", of: rateOf(errors), text: short, top: () => 1, bad: (value) => value > 0 },
];
const COMMANDS = 3, ERRORS = 4;

function errors(stats) {
  return stats.timeouts_total + stats.rejected_total + stats.failed_total;
}

function rateOf(count) {
  return (now, was, seconds) => (count(now) - count(was)) / seconds;
}

function meanWait(now, was) {
  const waits = now.acquired_waited_total - was.acquired_waited_total;
  const mean = waits > 0 ? (now.wait_seconds_sum - was.wait_seconds_sum) / waits : 0;
  return Math.max(mean, now.oldest_wait_seconds);
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

function duration(seconds) {
  if (seconds === 0) return "0";
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function short(value) {
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}

function element(name, text, kind) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (kind) node.className = kind;
  return node;
}

const keyOf = (pool) => `${pool.process} ${pool.started} ${pool.stats.alias} ${pool.face}`;

/** Keep the figures of each pool; forget the pools of processes that are no more. */
function remember(found) {
  const alive = new Set(found.pools.map(keyOf));
  for (const key of histories.keys()) if (!alive.has(key)) histories.delete(key);
  for (const [key, card] of cards) if (!alive.has(key)) { card.node.remove(); cards.delete(key); }
  for (const pool of found.pools) {
    const history = histories.get(keyOf(pool)) ?? new History(MEASURES.map((measure) => measure.of));
    history.add(pool.stats, found.now);
    histories.set(keyOf(pool), history);
  }
}

function newCard() {
  const node = element("article", undefined, "card");
  const title = element("h3"), about = element("p"), list = element("dl");
  const rows = MEASURES.map((measure) => {
    const row = element("div", undefined, "chart");
    const picture = chart(KEPT), value = element("dd");
    row.append(element("dt", measure.name), picture, value);
    list.append(row);
    return { picture, value };
  });
  node.append(title, about, list);
  $("cards").append(node);
  return { node, title, about, rows };
}

function showCard(pool, now) {
  const key = keyOf(pool), card = cards.get(key) ?? newCard(), stats = pool.stats;
  cards.set(key, card);
  card.title.textContent = `${stats.alias} · ${pool.face} · process ${pool.process}`;
  card.about.textContent = `${pool.program} → ${stats.server}; ${stats.idle} idle, `
    + `${stats.connecting} connecting, ${stats.pubsub} subscribed; p95 wait ${duration(stats.wait_seconds_p95)}`;
  const history = histories.get(key);
  history.last.forEach((last, index) => {
    const { picture, value } = card.rows[index], measure = MEASURES[index];
    draw(picture, history, index, now, KEPT, measure.top(stats));
    value.textContent = measure.text(last, stats);
    value.className = measure.bad?.(last) ? "bad" : measure.warm?.(last) ? "warm" : "";
  });
}

function showTotals(pools) {
  const last = (index) => pools.map((pool) => histories.get(keyOf(pool)).last[index] ?? 0);
  const stats = pools.map((pool) => pool.stats);
  const figures = {
    "processes": new Set(pools.map((pool) => pool.process)).size,
    "in use": `${sum(stats.map((s) => s.in_use))} / ${sum(stats.map((s) => s.max_connections))}`,
    "idle": sum(stats.map((s) => s.idle)),
    "waiting": sum(stats.map((s) => s.waiting)),
    "longest wait": duration(Math.max(0, ...stats.map((s) => s.oldest_wait_seconds))),
    "commands/s": short(sum(last(COMMANDS))),
    "errors/s": short(sum(last(ERRORS))),
  };
  const nodes = Object.entries(figures).map(([name, value]) => {
    const tile = element("div");
    tile.append(element("dt", name), element("dd", String(value)));
    return tile;
  });
  $("totals").replaceChildren(...nodes);
}

/** Say it only when it changes, or a screen reader says it each time. */
function alarm(shown, lines) {
  if (shown.dataset.text === lines.join("\n")) return;
  shown.dataset.text = lines.join("\n");
  shown.replaceChildren(...lines.map((line) => element("p", line)));
}

function showOutages(pools) {
  const away = pools.filter((pool) => pool.stats.away_seconds > 0);
  const servers = [...new Set(away.map((pool) => pool.stats.server))];
  alarm($("outages"), servers.map((server) => {
    const those = away.filter((pool) => pool.stats.server === server);
    return `${server} cannot be reached by ${those.length} pool${those.length > 1 ? "s" : ""}: ${those[0].stats.away_reason}`;
  }));
}

/** Tell that no answer comes; how long is for the eye alone. */
function showSilence() {
  const silent = performance.now() - heard;
  alarm($("silence"), silent < SILENT_AFTER ? [] : [`No answer from the application since ${
    heardAt.toLocaleTimeString()}; what is shown is from then. Perhaps all its threads wait for Redis.`]);
  $("silent-for").textContent = silent < SILENT_AFTER ? "" : `for ${duration(silent / 1000)}`;
}

function fill(body, rows) {
  body.replaceChildren(...rows.map((cells) => {
    const row = element("tr");
    row.append(...cells.map((cell) =>
      element("td", cell === null ? "–" : String(cell), typeof cell === "number" ? "number" : undefined)));
    return row;
  }));
}

function showLeases(pools) {
  const leases = pools.flatMap((pool) => pool.holders.map((holder) => ({ pool, holder })));
  leases.sort((one, other) => other.holder.seconds - one.holder.seconds);
  const rows = leases.slice(0, 20).map(({ pool, holder }) =>
    [duration(holder.seconds), pool.process, pool.stats.alias, holder.name, holder.place]);
  fill($("lease-table").tBodies[0], rows.length ? rows : [["none", "", "", "", ""]]);
}

function showRows(table, rows) {
  const names = rows.length ? Object.keys(rows[0]) : [];
  const head = element("tr");
  head.append(...names.map((name) => {
    const cell = element("th", name.replaceAll("_", " "));
    cell.scope = "col";
    return cell;
  }));
  table.tHead.replaceChildren(head);
  fill(table.tBodies[0], rows.map((row) => names.map((name) => row[name])));
}

async function ask(path, within = 30_000) {
  const answer = await fetch(path, {
    headers: { Accept: "application/json" }, redirect: "manual", signal: AbortSignal.timeout(within),
  });
  hear();  // whatever it is: the application answers
  if (answer.type === "opaqueredirect") throw new Error("the server leads elsewhere; log in again");
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return answer.json();
}

function hear() {
  heard = performance.now();
  heardAt = new Date();
}

async function look() {
  // Nobody has asked while the page was paused, hidden, or the machine asleep: that is no silence.
  const now = performance.now();
  if (paused || document.hidden || now - ticked > SILENT_AFTER) hear();
  ticked = now;
  if (paused || document.hidden) return;
  showSilence();
  const number = ++asked;
  try {
    const found = await ask("pools.json", ANSWER_WITHIN);
    if (paused || number < answered) return;  // a later one was faster
    answered = number;
    show(found);
    say("Live");
  } catch (error) {
    if (!paused && number > answered) say(error.name === "TimeoutError" ? "No answer" : `No figures: ${error.message}`);
  }
}

function show(found) {
  remember(found);
  $("host").textContent = `on ${found.host}`;
  $("note").textContent = found.note || (found.pools.length ? "" : "No process has used a pool yet.");
  found.pools.forEach((pool) => showCard(pool, found.now));
  showTotals(found.pools);
  showOutages(found.pools);
  showLeases(found.pools);
  showSilence();
}

function say(text) {
  if ($("state").textContent !== text) $("state").textContent = text;
}

async function lookAtFleet() {
  if (paused || document.hidden) return;
  try {
    const found = await ask("fleet.json");
    $("fleet-note").textContent = found.errors.join(" ");
    if (found.rows.length) showRows($("fleet-table"), found.rows);
  } catch (error) {
    $("fleet-note").textContent = `Not known: ${error.message}`;
  }
}

async function showOptions() {
  try {
    showRows($("option-table"), (await ask("options.json")).rows);
  } catch (error) {
    $("option-table").caption.textContent = `Not known: ${error.message}`;
  }
}

/** One request after another, however slow they are. */
async function again(work, milliseconds) {
  await work();
  setTimeout(() => again(work, milliseconds), milliseconds);
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  say(paused ? "Paused" : "Live");
});
setInterval(look, LOOK_EVERY);
look();
again(lookAtFleet, FLEET_EVERY);
showOptions();
