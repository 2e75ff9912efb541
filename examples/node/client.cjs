// A service in Node: sign in, enable a server, read the dashboard, export, sign out.
//
//     DATABASE_URL=postgresql://…:6432/mcp_portal PORTALDB_KEYS_FILE=keys.json node client.cjs
//
// Each request of a person is one transaction, so it works behind PgBouncer in transaction mode.

const { readFileSync } = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");
const { CompactEncrypt, base64url } = require("jose");
const { Pool } = require("pg");

// Nothing is wrong with the request: run the whole transaction again.
const AGAIN = new Set(["40001", "40P01", "55P03", "57014"]);
// The HTTP status of an SQLSTATE; class PT carries its own.
const STATUS = { 42501: 403, 23505: 409, 23514: 400, "22P02": 400 };
const ADDRESS = "192.0.2.1";
const PROGRAM = "examples/node";

class ApiError extends Error {
    constructor(status, said, hint) {
        super(`${status} ${said}`);
        Object.assign(this, { status, hint });
    }
}

// Maps an error of the database by its SQLSTATE alone, never by its text.
function apiError(error) {
    const state = error.code ?? "";
    const status = state.startsWith("PT") ? Number(state.slice(2)) : AGAIN.has(state) ? 503 : (STATUS[state] ?? 500);
    return new ApiError(status, error.message, error.hint);
}

async function one(client, query, values = []) {
    const { rows } = await client.query(query, values);
    if (rows.length === 0) throw new ApiError(404, "there is no such row");
    return rows[0];
}

// Does some work in a transaction, and all of it again where only its moment was wrong.
async function transaction(pool, work) {
    for (let attempt = 0; ; attempt++) {
        const client = await pool.connect();
        let broken;
        try {
            await client.query("BEGIN");
            const answer = await work(client);
            await client.query("COMMIT");
            return answer;
        } catch (error) {
            // A connection that cannot even roll back does not go back to the pool.
            await client.query("ROLLBACK").catch((lost) => (broken = lost));
            if (error instanceof ApiError) throw error;
            if (!AGAIN.has(error.code) || attempt === 2) throw apiError(error);
        } finally {
            client.release(broken);
        }
        await sleep(50 * 2 ** attempt);
    }
}

// Lets a person in whom Azure has told us of, and returns the tokens of a new session.
async function signIn(pool, azureOid, email, name) {
    const person = await transaction(pool, async (client) => {
        await client.query("SELECT set_app_context(NULL, $1, $2)", [ADDRESS, PROGRAM]);
        const user = await one(client, "SELECT * FROM sign_in($1, $2, $3)", [azureOid, email, name]);
        const session = user.outcome === "signed_in" ? await one(client, "SELECT * FROM create_session()") : {};
        return { ...user, ...session };
    });
    // Asked after the COMMIT: the refusal is audited, and an exception within would have undone that.
    if (person.outcome !== "signed_in") throw new ApiError(403, "the user is deactivated");
    return person;
}

// Does some work as whoever the token is of.
function request(pool, token, work) {
    return transaction(pool, async (client) => {
        const user = await one(client, "SELECT * FROM authenticate($1, $2, $3)", [token, ADDRESS, PROGRAM]);
        return work(client, user);
    });
}

// Encrypts a text for one configuration: docs/encryption.md has the envelope, and how to open it again.
function seal(text, jwk, userId, serverId) {
    const cty = `text/plain;ctx=user_server_configs.encrypted_config.${userId}.${serverId}`;
    return new CompactEncrypt(new TextEncoder().encode(text))
        .setProtectedHeader({ alg: "dir", enc: jwk.enc, kid: jwk.kid, cty })
        .encrypt(base64url.decode(jwk.k));
}

// Stores a secret for a server, which the database sees encrypted alone, and switches the server on.
function enable(pool, token, server, secret, jwk) {
    return request(pool, token, async (client, user) => {
        const { id } = await one(client, "SELECT id FROM mcp_servers WHERE name = $1 AND is_active", [server]);
        const value = await seal(secret, jwk, user.user_id, id);
        await one(client, "SELECT * FROM update_server_config($1, p_encrypted_config => $2)", [id, value]);
        return one(client, "SELECT outcome FROM enable_server($1)", [id]);
    });
}

// What a start page shows; pg gives a bigint as a text, for it may be greater than a number can be.
function dashboard(pool, token) {
    return request(pool, token, (client, user) =>
        one(
            client,
            "SELECT display_name, total_servers::int, enabled_servers::int FROM user_dashboard WHERE user_id = $1",
            [user.user_id],
        ),
    );
}

// The person's settings, without a secret.
async function exported(pool, token) {
    return (await request(pool, token, (client) => one(client, "SELECT export_configs() AS document"))).document;
}

// Ends the session, and all that continued it.
function signOut(pool, token) {
    return request(pool, token, (client) => one(client, "SELECT end_session() AS ended"));
}

async function main(pool) {
    const { keys } = JSON.parse(readFileSync(process.env.PORTALDB_KEYS_FILE, "utf8"));
    const jwk = keys.find((key) => key.state === "primary");
    const say = (step, answer) => process.stdout.write(JSON.stringify({ step, ...answer }) + "\n");

    const person = await signIn(pool, "00000000-0000-0000-66f3-3332eca7ea81", "ada@example.org", "Ada");
    const token = person.session_token;
    say("sign in", { outcome: person.outcome, is_new: person.is_new });
    say("enable", await enable(pool, token, "github", '{"token": "not a real one"}', jwk));
    const [shown, document] = await Promise.all([dashboard(pool, token), exported(pool, token)]);
    say("dashboard", shown);
    say("export", document);
    await enable(pool, token, "no such server", "x", jwk).catch(({ status }) => say("no such server", { status }));
    say("sign out", await signOut(pool, token));
    await dashboard(pool, token).catch((error) =>
        say("after it", { status: error.status, said: error.message, hint: error.hint }),
    );
}

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 4 });
main(pool)
    .catch((error) => {
        console.error(error);
        process.exitCode = 1;
    })
    .finally(() => pool.end());
