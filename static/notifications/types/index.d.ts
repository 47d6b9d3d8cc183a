import { Client } from "./client.js";
import { Notifications } from "./notifications.js";
export type Started = {
    client: Client;
    notifications: Notifications;
};
/** @type {Started} */
export declare const client: Client, notifications: Notifications;
