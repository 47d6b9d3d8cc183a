// Socket.IO with the WebSocket transport only. It sends each line of stdin to all sockets.
const { Server } = require("socket.io");
const http = require("node:http");
const readline = require("node:readline");

const web = http.createServer();
const io = new Server(web, { transports: ["websocket"], perMessageDeflate: false, pingInterval: 25000 });
readline.createInterface({ input: process.stdin }).on("line", (line) => io.emit("message", line));
web.listen({ host: "127.0.0.1", port: Number(process.argv[2]), backlog: 4096 });
