// node-postgres through the gateway: a JSON line for each outcome; see probe.py for what is said when.
"use strict";
const fs = require("fs");
const { Client, Pool } = require("pg");

const env = process.env;
const config = {
  host: env.PROBE_HOST, port: Number(env.PROBE_PORT), user: env.PROBE_USER, password: env.PROBE_PASSWORD,
  database: env.PROBE_DATABASE, ssl: { ca: fs.readFileSync(env.PROBE_CA, "utf8"), servername: env.PROBE_HOST },
};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const say = (scenario, sqlstate, text) => console.log(JSON.stringify({ scenario, sqlstate, text: String(text) }));

async function report(scenario, work) {
  try {
    say(scenario, "ok", await work());
  } catch (error) {
    say(scenario, error.code || "", `${error.message} ${error.detail || ""} ${error.hint || ""}`);
  }
}

async function connected(work, more = {}) {
  const db = new Client({ ...config, ...more });
  let lost = null;
  db.on("error", (error) => { lost = lost || error; });
  await db.connect();
  try {
    return await work(db, () => lost);
  } finally {
    db.end().catch(() => {});
  }
}

const before = {
  connect: () => connected(async (db) => (await db.query("SELECT session_user")).rows[0].session_user),
  direct_tls: () => connected(async (db) => (await db.query("SELECT session_user")).rows[0].session_user,
    { sslnegotiation: "direct", ssl: { ...config.ssl, ALPNProtocols: ["postgresql"] } }),
  prepared: () => connected(async (db) => {
    let sum = 0;
    for (let n = 0; n < 8; n++) sum += (await db.query({ name: "add", text: "SELECT $1::int + 1 AS n", values: [n] })).rows[0].n;
    return sum;
  }),
  large: () => connected(async (db) => (await db.query("SELECT repeat('z', 10000) AS z FROM generate_series(1, 1000)")).rows.length),
  pool: async () => {
    const pool = new Pool({ ...config, max: 3 });
    const rows = await Promise.all([1, 2, 3, 4, 5, 6].map((n) => pool.query("SELECT $1::int AS n", [n])));
    await pool.end();
    return rows.reduce((sum, one) => sum + one.rows[0].n, 0);
  },
  notice: () => connected(async (db) => {
    const heard = [];
    db.on("notice", (notice) => heard.push(notice.message));
    await db.query("DO $$ BEGIN RAISE NOTICE 'as it was'; END $$");
    return heard;
  }),
  notify: () => connected(async (db) => {
    const heard = new Promise((done) => db.on("notification", (said) => done(said.payload)));
    await db.query("LISTEN news");
    await db.query("NOTIFY news, 'hello'");
    return heard;
  }),
  error: () => connected((db) => db.query("SELECT 1/0")),
  // its cancel request goes in clear, whatever the session itself uses
  cancel: () => connected(async (db) => {
    const query = new (require("pg").Query)("SELECT pg_sleep(9)");
    const over = new Promise((done, failed) => { query.on("error", failed); query.on("end", done); });
    db.query(query);
    await sleep(300);
    new Client({ ...config, ssl: false }).cancel(db, query);
    await over;
  }),
};

async function untilLost(db, lost, begun) {
  begun();
  for (let n = 0; n < 1000 && !lost(); n++) await sleep(20);
  if (lost()) throw lost();
}

const expiring = {
  idle: (begun) => connected((db, lost) => untilLost(db, lost, begun)),
  in_transaction: (begun) => connected(async (db, lost) => {
    await db.query("BEGIN");
    await db.query("INSERT INTO orders (what) VALUES ('never')");
    await untilLost(db, lost, begun);
  }),
  in_long_query: (begun) => connected(async (db) => {
    begun();
    await db.query("INSERT INTO orders (what) SELECT 'never' FROM pg_sleep(6)");
  }),
  pipelined: (begun) => connected(async (db) => {
    begun();
    const sent = [db.query("INSERT INTO orders (what) SELECT $1 FROM pg_sleep(6)", ["never"]), db.query("SELECT 1")];
    await Promise.all(sent.map((one) => one.catch((error) => { throw error; })));
  }, { pipeline: true }),
  listening: (begun) => connected(async (db, lost) => {
    await db.query("LISTEN news");
    await untilLost(db, lost, begun);
  }),
};

(async () => {
  for (const [name, work] of Object.entries(before)) await report(name, work);
  const running = [];
  await Promise.all(Object.entries(expiring).map(([name, work]) => new Promise((begun) => {
    running.push(report(name, () => work(begun)).then(begun));
  })));
  await sleep(400);
  console.log("ready");
  await Promise.all(running);
  await report("denied", before.connect);
  process.exit(0);
})();
