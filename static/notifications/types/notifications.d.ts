import type { Client } from "./client.js";
import type { Content } from "./protocol.js";
import type { Events as ClientEvents } from "./events.js";
export type Folder = "unread" | "all" | "archived";
export type Entry = Content & {
    channel?: string;
    offset?: number;
    published?: string;
    read?: boolean;
    archived?: boolean;
};
export type Page = {
    entries: Entry[];
    next?: string;
    unread: number;
};
export type Change = {
    /**
     *   `sync`: something may have been missed, fetch again
     */
    type: "read" | "unread" | "archive" | "read_all" | "archive_all" | "mute" | "unmute" | "join" | "leave" | "sync";
    ids: number[];
    /**
     * the stream that was joined, left, muted or unmuted
     */
    channel?: string;
    /**
     * of `read_all` and `archive_all`: offsets by channel.
     * Notifications above them were published later and have not changed.
     */
    marks?: Record<string, number>;
    /**
     * made by this tab
     */
    isOwn?: boolean;
};
export type Topic = {
    channel: string;
    muted: boolean;
};
export type Events = Pick<ClientEvents, "connecting" | "connected" | "disconnected" | "error" | "publication"> & {
    change: Change;
    count: {
        unread: number;
    };
};
import { Emitter } from "./emitter.js";
/**
 * Whether a change of all entries includes this one. It does not if the entry came later.
 *
 * @param {Change} change
 * @param {{channel?: string | undefined, offset?: number | undefined}} entry
 * @returns {boolean}
 */
export declare function reaches({ marks }: Change, { channel, offset }: {
    channel?: string | undefined;
    offset?: number | undefined;
}): boolean;
/** @extends {Emitter<Events>} */
export declare class Notifications extends Emitter<Events> {
    #private;
    /**
     * @param {Client} client
     * @param {number} unread as the server has rendered it
     */
    constructor(client: Client, unread: number);
    /**
     * Starts from the unread count that the server has rendered into the page.
     *
     * @param {number} unread
     */
    begin(unread: number): void;
    /** The last known number of unread notifications. */
    get unreadCount(): number;
    /** `disconnected`, `connecting` or `connected`. */
    get state(): import("./events.js").State;
    /** Connects again after `disconnect()`. A page with one of the template tags connects by itself. */
    connect(): void;
    /** Closes the connection until `connect()` is called. */
    disconnect(): void;
    /**
     * Fetches a page of a folder: `unread`, `all` or `archived`.
     *
     * @param {{folder?: Folder, before?: string, limit?: number}} [page] `before`: `next` of the
     *   previous page
     * @returns {Promise<Page>} newest first
     */
    list(page?: {
        folder?: Folder;
        before?: string;
        limit?: number;
    }): Promise<Page>;
    /** @returns {Promise<number>} the current unread count, from the server */
    count(): Promise<number>;
    /** @param {number[]} ids of notifications that become read */
    read(ids: number[]): Promise<void>;
    /** @param {number[]} ids of notifications that become unread and leave the archive */
    unread(ids: number[]): Promise<void>;
    /** @param {number[]} ids of notifications that move to the archive and become read */
    archive(ids: number[]): Promise<void>;
    /** Marks all notifications in the inbox as read. */
    readAll(): Promise<void>;
    /** Archives all notifications in the inbox. */
    archiveAll(): Promise<void>;
    /** @returns {Promise<Topic[]>} the topics that the user follows */
    topics(): Promise<Topic[]>;
    /** @param {string} channel such as `topic:news`: the user follows it from now on */
    join(channel: string): Promise<void>;
    /** @param {string} channel such as `topic:news`: the user no longer follows it, on any device */
    leave(channel: string): Promise<void>;
}
