//! Answers every request with `hello world`.
const host = @import("host.zig");

export fn exports_wasi_http_incoming_handler_handle(request: host.Request, out: host.Response) void {
    host.wit.wasi_http_types_incoming_request_drop_own(request);
    host.respond(out, 200, "text/plain", "hello world\n") catch {};
}
