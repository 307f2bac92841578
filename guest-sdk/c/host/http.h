// Answering an HTTP request with one body.
#pragma once
#include "host/io.h"

typedef exports_wasi_http_incoming_handler_own_incoming_request_t host_request;
typedef exports_wasi_http_incoming_handler_own_response_outparam_t host_response;

static inline wasi_http_types_own_fields_t host_content_type(const char *type) {
    wasi_http_types_own_fields_t fields = wasi_http_types_constructor_fields();
    wasi_http_types_header_error_t error;
    plugin_string_t name;
    plugin_string_set(&name, "content-type");
    wasi_http_types_field_value_t value = {(uint8_t *)type, strlen(type)};
    wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(fields), &name, &value, &error);
    return fields;
}

// Sends status, content type and body, and ends the response. False if the client is gone.
static inline bool host_respond(host_response out, uint16_t status, const char *type, const void *data, size_t size) {
    wasi_http_types_result_own_outgoing_response_error_code_t result = {.is_err = false};
    wasi_http_types_own_outgoing_response_t response =
        wasi_http_types_constructor_outgoing_response(host_content_type(type));
    wasi_http_types_borrow_outgoing_response_t borrowed = wasi_http_types_borrow_outgoing_response(response);
    wasi_http_types_own_outgoing_body_t body;
    wasi_http_types_own_output_stream_t stream;
    wasi_http_types_error_code_t error;

    wasi_http_types_method_outgoing_response_set_status_code(borrowed, status);
    wasi_http_types_method_outgoing_response_body(borrowed, &body);
    result.val.ok = response;
    wasi_http_types_static_response_outparam_set(out, &result);

    wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream);
    bool sent = host_write(wasi_io_streams_borrow_output_stream(stream), data, size);
    wasi_io_streams_output_stream_drop_own(stream);
    if (!wasi_http_types_static_outgoing_body_finish(body, NULL, &error)) {
        wasi_http_types_error_code_free(&error);
        return false;
    }
    return sent;
}
