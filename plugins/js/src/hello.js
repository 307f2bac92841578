// Answers every request with `hello world`.
addEventListener("fetch", (event) =>
  event.respondWith(new Response("hello world\n", { headers: { "content-type": "text/plain" } })),
);
