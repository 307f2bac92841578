// Answers every request.
#include "host/http.h"

static const char HELLO[] = "hello from {{name}}\n";

void exports_wasi_http_incoming_handler_handle(host_request request, host_response out) {
    wasi_http_types_incoming_request_drop_own(request);
    host_respond(out, 200, "text/plain", HELLO, sizeof HELLO - 1);
}
