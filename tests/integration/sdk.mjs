// Runs the npm package `centrifuge` for tests: commands come as lines of JSON on stdin, events and
// results leave as lines on stdout. Its first argument holds the options.

import { createInterface } from 'node:readline';
import { Centrifuge } from 'centrifuge';

const { endpoints, ...options } = JSON.parse(process.argv[2]);
const client = new Centrifuge(endpoints, { eventsource: globalThis.EventSource, ...options });

function tell(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function tellOf(emitter, events, subscription = '') {
  for (const event of events) {
    emitter.on(event, (context) => tell({ event, subscription, context }));
  }
}

const COMMANDS = {
  connect: () => client.connect(),
  disconnect: () => client.disconnect(),
  rpc: (method, data) => client.rpc(method, data),
  publish: (channel, data) => client.publish(channel, data),
  history: (channel, filter) => client.history(channel, filter),
  subscribe: async (channel) => {
    const subscription = client.newSubscription(channel);
    tellOf(subscription, ['publication', 'subscribed', 'unsubscribed', 'error'], channel);
    subscription.subscribe();
    await subscription.ready();
  },
};

tellOf(client, ['connected', 'connecting', 'disconnected', 'error', 'publication', 'subscribed']);

for await (const line of createInterface({ input: process.stdin })) {
  const { id, name, values } = JSON.parse(line);
  Promise.resolve()
    .then(() => COMMANDS[name](...values))
    .then((result) => tell({ id, result: result ?? null }))
    .catch((error) => tell({ id, error: { code: error.code, message: error.message } }));
}
process.exit();
