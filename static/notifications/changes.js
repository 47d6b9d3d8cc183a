/**
 * What the server tells the other connections of a user about a change, and what tabs that share a
 * connection therefore have to tell each other.
 *
 * @typedef {{method?: string, data?: {ids?: number[], channel?: string, muted?: boolean}}} Call
 * @typedef {{ids?: number[], unread?: number}} Result
 * @typedef {{type: string, ids: number[], channel?: string, unread?: number}} Message
 */

/** Procedures with a count in their result that change nothing. */
const QUERIES = new Set(["inbox", "topics"]);

const CHANGES = new Set(["read", "unread", "archive", "read_all", "archive_all", "leave"]);

/**
 * @param {Call} call a procedure that the server has carried out
 * @param {Result} result
 * @returns {Message[]}
 */
export function messagesOf({ method = "", data = {} }, { ids, unread }) {
  const isCount = method === "unread" && !data.ids;
  if (unread === undefined || isCount || QUERIES.has(method)) return [];
  const type = method === "mute" ? (data.muted === false ? "unmute" : "mute") : method;
  const isKnown = method === "mute" || CHANGES.has(method);
  const channel = data.channel ? { channel: data.channel } : {};
  const message = { type: isKnown ? type : "sync", ids: ids ?? data.ids ?? [], ...channel, unread };
  // Still unread: a notification was published after the change and before the reply.
  const isPartial = (method === "read_all" || method === "archive_all") && unread > 0;
  return isPartial ? [message, { type: "sync", ids: [], unread }] : [message];
}
