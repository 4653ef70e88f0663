// A Lightstreamer client for Node as a child process: one JSON line per callback, until its stdin is closed.
// Arguments: the package, the server's URL, a transport, the items (comma separated).
"use strict";

const [packageName, url, transport, items] = process.argv.slice(2);
const { LightstreamerClient, Subscription } = require(packageName);

const say = (...event) => process.stdout.write(JSON.stringify(event) + "\n");

const client = new LightstreamerClient(url, "ISSLIVE");
client.addListener({
  onStatusChange: (status) => say("status", status),
  onServerError: (code, message) => say("server_error", code, message),
});
client.connectionOptions.setForcedTransport(transport);

const fields = ["TimeStamp", "Value", "Status.Class", "Status.Indicator", "Status.Color", "CalibratedData"];
const subscription = new Subscription("MERGE", items.split(","), fields);
subscription.addListener({
  onSubscription: () => say("subscribed"),
  onUnsubscription: () => say("unsubscribed"),
  onSubscriptionError: (code, message) => say("subscription_error", code, message),
  onItemUpdate: (update) =>
    say("update", update.getItemName(), update.isSnapshot(), fields.map((name) => update.getValue(name))),
});
client.subscribe(subscription);
client.connect();

process.stdin.on("data", () => client.disconnect());
process.stdin.on("end", () => process.exit(0));
