// A push server on Node's `ws` and nothing else. It sends each line of stdin to all sockets.
const { WebSocketServer } = require("ws");
const readline = require("node:readline");

const server = new WebSocketServer({
  host: "127.0.0.1", port: Number(process.argv[2]), perMessageDeflate: false, backlog: 4096,
});
server.on("connection", (socket) => socket.on("error", () => {}));
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  for (const socket of server.clients) socket.send(line);
});
