// Nodemailer's pool: node pool.mjs MODULE PORT WARMUP COUNT [CONNECTIONS]; prints one line of JSON.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const [module, port, warmup, count, connections = 1] = process.argv.slice(2);
const nodemailer = createRequire(import.meta.url)(module);
const template = JSON.parse(readFileSync(0, "utf8"));
const pool = nodemailer.createTransport({
  host: "127.0.0.1", port: Number(port), secure: false, ignoreTLS: true,
  pool: true, maxConnections: Number(connections), maxMessages: Infinity,
});

const message = (number) => ({
  from: { name: template.name, address: template.sender },
  to: { name: `Affiliate ${number}`, address: `r${number}@example.net` },
  subject: template.subject.replace("{number}", number),
  headers: { "Auto-Submitted": "auto-generated" },
  text: template.text.replaceAll("{number}", number),
  html: template.html.replaceAll("{number}", number),
});

// Enough messages wait in the pool to keep its connections busy.
async function send(amount) {
  let number = 0;
  const one = async () => {
    while (number < amount) await pool.sendMail(message(number++));
  };
  await Promise.all(Array.from({ length: 8 * Number(connections) }, one));
}

await send(Number(warmup));
const cpu = process.cpuUsage();
const started = process.hrtime.bigint();
await send(Number(count));
const wall = Number(process.hrtime.bigint() - started) / 1e9;
const used = process.cpuUsage(cpu);
console.log(JSON.stringify({ wall, cpu: (used.user + used.system) / 1e6 }));
pool.close();
