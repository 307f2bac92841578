// Answers every request.
import { serve } from "host-sdk/fetch";

serve((request) => new Response(`hello from {{name}}, ${request.method}\n`));
