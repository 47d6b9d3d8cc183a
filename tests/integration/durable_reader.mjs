/**
 * A program that reads a stream with the npm package @durable-streams/client, and goes on for ever.
 *
 * It prints a line of JSON for each batch, and for each error. After an error that is not the
 * answer of a server, it goes on from the last offset: as an application has to.
 *
 * Arguments: the URL of the stream, a bearer token, "long-poll" or "sse", and the first offset.
 */

import { stream } from "@durable-streams/client";

const [url, token, live, first] = process.argv.slice(2);

/** @param {unknown} line */
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

let offset = first;
while (true) {
  try {
    const response = await stream({
      url,
      offset,
      live,
      json: true,
      headers: { Authorization: `Bearer ${token}` },
      warnOnHttp: false,
    });
    response.subscribeJson((batch) => {
      offset = batch.offset;
      print({
        titles: batch.items.map((item) => item.title),
        offset,
        upToDate: batch.upToDate,
      });
    });
    await response.closed;
  } catch (error) {
    print({ error: error.status ?? 0, offset });
    if (error.status) process.exit(1);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
