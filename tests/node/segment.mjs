// Sends a few calls through the unmodified SDK and prints one line of JSON: what it said about them.
import { Analytics } from "@segment/analytics-node";

const [host, writeKey, userId] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host, flushAt: 3, maxRetries: 0, httpRequestTimeout: 10000 });
const errors = [];
analytics.on("error", (error) => errors.push(String(error.reason ?? error)));

const delivered = [
  (done) => analytics.identify({ userId, messageId: "n-1", traits: { plan: "free" } }, done),
  (done) => analytics.track(
    { userId, messageId: "n-2", event: "Product Viewed", properties: { product_id: "milk", price: 2.5 } }, done),
  (done) => analytics.page({ userId, messageId: "n-3", name: "Home" }, done),
].map((call) => new Promise((resolve) => call((error, context) => resolve({ failed: Boolean(error), id: context?.event.messageId }))));

const calls = await Promise.all(delivered);
await analytics.closeAndFlush({ timeout: 10000 });
console.log(JSON.stringify({ calls, errors }));
