// The JavaScript SDK `centrifuge`, driven by tests; see ../driver.py for what is said here.
import { createInterface } from "node:readline";
import { Centrifuge as JSONClient } from "centrifuge";
import { Centrifuge as ProtobufClient } from "centrifuge/build/protobuf";
import { EventSource } from "eventsource";

const { URL: address, FORM, TRANSPORT, TOKEN } = process.env;
const isBinary = FORM === "protobuf";
const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Replies of the test to questions for a token, in the order of the questions. @type {Function[]} */
const waitingForToken = [];

const pack = (value) => (isBinary ? encoder.encode(JSON.stringify(value)) : value);
const unpack = (data) => (data instanceof Uint8Array ? JSON.parse(decoder.decode(data)) : data);
const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const tell = (event, details = {}) => say({ event, ...details });

function getToken(context) {
  return new Promise((resolve) => {
    waitingForToken.push(resolve);
    tell("token", { channel: context.channel ?? "" });
  });
}

function endpoint() {
  if (TRANSPORT === "websocket") {
    return [{ transport: "websocket", endpoint: address }];
  }
  const site = address.replace(/^ws/, "http").replace(/\/websocket$/, "");
  return [{ transport: TRANSPORT, endpoint: `${site}/${TRANSPORT}` }];
}

const emulation = address.replace(/^ws/, "http").replace(/connection\/websocket$/, "emulation");
const client = new (isBinary ? ProtobufClient : JSONClient)(endpoint(), {
  emulationEndpoint: emulation,
  eventsource: EventSource,
  minReconnectDelay: 50,
  maxReconnectDelay: 500,
  ...(TOKEN === "ask" ? { getToken } : { token: TOKEN }),
});

function tellOfPublication(channel, context) {
  const { offset = 0, info, tags = {} } = context;
  tell("publication", { channel, data: unpack(context.data), offset, by: info?.user ?? "", tags });
}

function tellOfSubscribed(channel, context) {
  const { wasRecovering = false, recovered = false } = context;
  tell("subscribed", { channel, wasRecovering, recovered });
}

client
  .on("connecting", (context) => tell("connecting", { code: context.code }))
  .on("connected", (context) => tell("connected", { data: unpack(context.data) }))
  .on("disconnected", (context) => tell("disconnected", { code: context.code }))
  .on("error", (context) => tell("error", { code: context.error.code }))
  .on("subscribed", (context) => tellOfSubscribed(context.channel, context))
  .on("unsubscribed", (context) => tell("unsubscribed", { channel: context.channel }))
  .on("publication", (context) => tellOfPublication(context.channel, context))
  .on("message", (context) => tell("message", { data: unpack(context.data) }));

function subscribe({ channel, token, joinLeave = false }) {
  const known = client.getSubscription(channel);
  const options = { joinLeave, minResubscribeDelay: 50, maxResubscribeDelay: 500 };
  if (token === "ask") {
    options.getToken = getToken;
  } else if (token) {
    options.token = token;
  }
  const subscription = known ?? client.newSubscription(channel, options);
  if (!known) {
    subscription
      .on("subscribed", (context) => tellOfSubscribed(channel, context))
      .on("unsubscribed", (context) => tell("unsubscribed", { channel, code: context.code }))
      .on("error", (context) => tell("error", { channel, code: context.error.code }))
      .on("publication", (context) => tellOfPublication(channel, context))
      .on("join", (context) => tell("join", { channel, user: context.info.user }))
      .on("leave", (context) => tell("leave", { channel, user: context.info.user }));
  }
  subscription.subscribe();
}

const about = (publication) => ({ offset: publication.offset ?? 0, data: unpack(publication.data) });

const COMMANDS = {
  connect: () => client.connect(),
  disconnect: () => client.disconnect(),
  subscribe,
  unsubscribe: ({ channel }) => client.getSubscription(channel).unsubscribe(),
  publish: async ({ channel, data }) => void (await client.publish(channel, pack(data))),
  rpc: async ({ method, data }) => unpack((await client.rpc(method, pack(data))).data),
  send: ({ data }) => client.send(pack(data)),
  history: async ({ channel, limit }) => {
    const { publications, offset, epoch } = await client.history(channel, { limit });
    return { offset, epoch, publications: publications.map(about) };
  },
  presence: async ({ channel }) => {
    const { clients } = await client.presence(channel);
    return { users: Object.values(clients).map((info) => info.user).sort() };
  },
  presence_stats: async ({ channel }) => {
    const { numClients, numUsers } = await client.presenceStats(channel);
    return { clients: numClients, users: numUsers };
  },
  token: ({ token }) => waitingForToken.shift()(token),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: command, ...details } = JSON.parse(line);
  Promise.resolve()
    .then(() => COMMANDS[command](details))
    .then((ok) => say({ id, ok: ok ?? {} }))
    .catch((error) => say({ id, error: { code: error.code ?? 0, message: error.message } }));
}
process.exit(0);
