// The conformance suite of Durable Streams, started as its README says.

import { runConformanceTests } from "@durable-streams/server-conformance-tests";

runConformanceTests({ baseUrl: process.env.SERVER_URL, longPollTimeoutMs: 5000 });
