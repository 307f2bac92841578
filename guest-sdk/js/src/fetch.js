// `serve(app.fetch)` makes an HTTP plugin of a fetch handler: Hono, itty-router, or a function of one's own.

/** @param {(request: Request) => Response | Promise<Response>} handler */
export function serve(handler) {
  addEventListener("fetch", (event) => event.respondWith(answer(handler, event.request)));
}

async function answer(handler, request) {
  try {
    return await handler(request);
  } catch (error) {
    console.error(error);
    return new Response("internal server error\n", { status: 500 });
  }
}

export default { serve };
