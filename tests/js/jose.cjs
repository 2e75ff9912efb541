// Encrypts and decrypts for the tests with the package jose: a request as JSON a line, an answer a line.
//
// {"key": "…", "header": {…}, "text": "…"} gives {"value": "…"}; {"key": "…", "value": "…"} gives {"header": {…}, "text": "…"};
// where the library throws, {"error": "…"}. A key is base64url, as a JWK's k.

const { CompactEncrypt, compactDecrypt, base64url } = require("jose");
const lines = require("node:readline").createInterface({ input: process.stdin });

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

async function answer({ key, header, text, value }) {
    const raw = base64url.decode(key);
    if (value === undefined) {
        const made = new CompactEncrypt(new TextEncoder().encode(text)).setProtectedHeader(header);
        return { value: await made.encrypt(raw) };
    }
    const { plaintext, protectedHeader } = await compactDecrypt(value, raw);
    return { header: protectedHeader, text: utf8.decode(plaintext) };
}

(async () => {
    for await (const line of lines) {
        const said = await answer(JSON.parse(line)).catch((error) => ({ error: String(error) }));
        process.stdout.write(JSON.stringify(said) + "\n");
    }
})();
