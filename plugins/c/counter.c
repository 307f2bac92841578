// The worker of the Counter program: tells the primary program about every request.
#include "host/http.h"
#include "host/ipc.h"

static const char HELLO[] = "hello world\n";
static const char NOTIFY[] = "{\"cmd\":\"notifyRequest\"}";

void exports_wasi_http_incoming_handler_handle(host_request request, host_response out) {
    wasi_http_types_incoming_request_drop_own(request);
    host_send(NOTIFY, sizeof NOTIFY - 1, NULL);
    host_respond(out, 200, "text/plain", HELLO, sizeof HELLO - 1);
}
