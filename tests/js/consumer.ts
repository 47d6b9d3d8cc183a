// A page's own code in TypeScript: what the declarations allow, and what they refuse.
import { client, notifications } from "../../static/notifications/types/index.js";

notifications.on("publication", ({ channel, offset, data }) => {
  const title: string = `${channel} ${offset} ${data.title}`;
  document.title = title;
  // @ts-expect-error: a publication has no such part
  data.headline;
});

notifications.on("count", ({ unread }) => unread.toFixed());

client.on("connected", ({ transport, reconnected }) => {
  const line: string = transport + String(reconnected);
  return line;
});

// @ts-expect-error: there is no such event
notifications.on("published", () => undefined);

// @ts-expect-error: ids are numbers
void notifications.read(["4"]);

// @ts-expect-error: there is no such folder
void notifications.list({ folder: "deleted" });

export async function titles(): Promise<string[]> {
  const page = await notifications.list({ folder: "unread", limit: 5 });
  await notifications.read(page.entries.map(({ id }) => id));
  return page.entries.map((entry) => entry.title);
}
