//! What the plugins share: streams, answers to HTTP requests, messages to the primary program.

/// The bindings of the plugin's world, as wit-bindgen's C header has them. A world has only some of these
/// functions; Zig compiles of this file what a plugin calls.
pub const wit = @import("plugin");

pub const Request = wit.exports_wasi_http_incoming_handler_own_incoming_request_t;
pub const Response = wit.exports_wasi_http_incoming_handler_own_response_outparam_t;

const Result = wit.wasi_http_types_result_own_outgoing_response_error_code_t;
const InputStream = wit.wasi_io_streams_borrow_input_stream_t;
const OutputStream = wit.wasi_io_streams_borrow_output_stream_t;

/// The C side only reads what it is given to send.
pub fn list(bytes: []const u8) wit.plugin_list_u8_t {
    return .{ .ptr = @constCast(bytes.ptr), .len = bytes.len };
}

/// Reads at least one byte; null at the end of the stream, or if it broke. Free it with `free`.
pub fn read(stream: InputStream, most: u64) ?[]u8 {
    var bytes: wit.plugin_list_u8_t = undefined;
    var failure: wit.wasi_io_streams_stream_error_t = undefined;
    while (wit.wasi_io_streams_method_input_stream_blocking_read(stream, most, &bytes, &failure)) {
        if (bytes.len > 0) return bytes.ptr[0..bytes.len];
    }
    wit.wasi_io_streams_stream_error_free(&failure);
    return null;
}

pub fn free(bytes: []u8) void {
    var owned = list(bytes);
    wit.plugin_list_u8_free(&owned);
}

/// Writes all of it, waiting while the other side does not take it.
pub fn write(stream: OutputStream, bytes: []const u8) error{Closed}!void {
    var failure: wit.wasi_io_streams_stream_error_t = undefined;
    errdefer wit.wasi_io_streams_stream_error_free(&failure);
    var rest = bytes;
    while (rest.len > 0) {
        var room: u64 = undefined;
        if (!wit.wasi_io_streams_method_output_stream_check_write(stream, &room, &failure)) return error.Closed;
        if (room == 0) {
            wait(wit.wasi_io_streams_method_output_stream_subscribe(stream));
            continue;
        }
        const size: usize = @min(room, rest.len);
        var part = list(rest[0..size]);
        if (!wit.wasi_io_streams_method_output_stream_write(stream, &part, &failure)) return error.Closed;
        rest = rest[size..];
    }
}

fn wait(pollable: wit.wasi_io_poll_own_pollable_t) void {
    wit.wasi_io_poll_method_pollable_block(wit.wasi_io_poll_borrow_pollable(pollable));
    wit.wasi_io_poll_pollable_drop_own(pollable);
}

/// Sends status, content type and body, and ends the response.
pub fn respond(out: Response, status: u16, content_type: []const u8, text: []const u8) error{Closed}!void {
    const response = wit.wasi_http_types_constructor_outgoing_response(fields(content_type));
    const borrowed = wit.wasi_http_types_borrow_outgoing_response(response);
    var body: wit.wasi_http_types_own_outgoing_body_t = undefined;
    _ = wit.wasi_http_types_method_outgoing_response_set_status_code(borrowed, status);
    _ = wit.wasi_http_types_method_outgoing_response_body(borrowed, &body);

    var result: Result = .{ .is_err = false, .val = .{ .ok = response } };
    wit.wasi_http_types_static_response_outparam_set(out, &result);

    const sent = writeBody(body, text);
    var failure: wit.wasi_http_types_error_code_t = undefined;
    if (!wit.wasi_http_types_static_outgoing_body_finish(body, null, &failure)) {
        wit.wasi_http_types_error_code_free(&failure);
        return error.Closed;
    }
    return sent;
}

fn writeBody(body: wit.wasi_http_types_own_outgoing_body_t, text: []const u8) error{Closed}!void {
    var stream: wit.wasi_http_types_own_output_stream_t = undefined;
    _ = wit.wasi_http_types_method_outgoing_body_write(wit.wasi_http_types_borrow_outgoing_body(body), &stream);
    // A body can be finished only when its stream is gone.
    defer wit.wasi_io_streams_output_stream_drop_own(stream);
    return write(wit.wasi_io_streams_borrow_output_stream(stream), text);
}

fn fields(content_type: []const u8) wit.wasi_http_types_own_fields_t {
    const all = wit.wasi_http_types_constructor_fields();
    var name: wit.plugin_string_t = undefined;
    wit.plugin_string_set(&name, "content-type");
    var value: wit.wasi_http_types_field_value_t = .{ .ptr = @constCast(content_type.ptr), .len = content_type.len };
    var failure: wit.wasi_http_types_header_error_t = undefined;
    _ = wit.wasi_http_types_method_fields_append(wit.wasi_http_types_borrow_fields(all), &name, &value, &failure);
    return all;
}

/// Sends bytes to the primary program, waiting if the queue is full. False if there is nobody to send to or the
/// message is too large.
pub fn send(message: []const u8) bool {
    var body = list(message);
    var failure: wit.host_cluster_ipc_message_error_t = undefined;
    return wit.host_cluster_ipc_blocking_send(&body, &failure);
}
