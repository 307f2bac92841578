// A Hono application, as it is.
import { Hono } from "hono";
import { serve } from "host-sdk/fetch";

const app = new Hono();

app.get("/", (context) => context.text("hello from Hono\n"));
app.get("/users/:name", (context) =>
  context.json({ user: context.req.param("name"), agent: context.req.header("user-agent") }),
);
app.post("/echo", async (context) => context.body(await context.req.text()));

serve(app.fetch);
