/** Serves HTTP with a fetch handler: Hono's `app.fetch`, or a function. An exception is answered with 500. */
export declare function serve(handler: (request: Request) => Response | Promise<Response>): void;

declare const host: { serve: typeof serve };
export default host;
