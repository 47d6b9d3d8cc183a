/**
 * Exponential backoff with full jitter: the n-th delay (from n = 0) is a random number between 0
 * and min(longest, shortest · 2ⁿ), so that clients of a failed server do not reconnect together.
 *
 * Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export declare class Backoff {
    #private;
    shortest: number;
    longest: number;
    random: () => number;
    /**
     * @param {number} shortest milliseconds
     * @param {number} longest milliseconds
     * @param {() => number} random returns a number from 0 to 1
     */
    constructor(shortest: number, longest: number, random?: () => number);
    /** @returns {number} milliseconds to wait before the next attempt */
    next(): number;
    reset(): void;
}
