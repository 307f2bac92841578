// Reading and writing streams of wasi:io. Part of the C SDK; include "host/http.h" or "host/connection.h".
#pragma once
#include <stdlib.h>
#include <string.h>
#include "plugin.h"  // generated for the plugin's world, see plugin.mk

static inline void host_wait(wasi_io_poll_own_pollable_t pollable) {
    wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(pollable));
    wasi_io_poll_pollable_drop_own(pollable);
}

// Writes all of it, waiting while the other side does not take it. False if the stream is closed.
static inline bool host_write(wasi_io_streams_borrow_output_stream_t stream, const void *data, size_t size) {
    wasi_io_streams_stream_error_t error;
    const uint8_t *next = data;
    while (size) {
        uint64_t room;
        if (!wasi_io_streams_method_output_stream_check_write(stream, &room, &error)) goto closed;
        if (!room) {
            host_wait(wasi_io_streams_method_output_stream_subscribe(stream));
            continue;
        }
        plugin_list_u8_t part = {(uint8_t *)next, room < size ? (size_t)room : size};
        if (!wasi_io_streams_method_output_stream_write(stream, &part, &error)) goto closed;
        next += part.len;
        size -= part.len;
    }
    return true;
closed:
    wasi_io_streams_stream_error_free(&error);
    return false;
}

// Reads at least one byte. False at the end of the stream, or if it broke. Free `into` with plugin_list_u8_free.
static inline bool host_read(wasi_io_streams_borrow_input_stream_t stream, size_t most, plugin_list_u8_t *into) {
    wasi_io_streams_stream_error_t error;
    do {
        if (!wasi_io_streams_method_input_stream_blocking_read(stream, most, into, &error)) {
            wasi_io_streams_stream_error_free(&error);
            return false;
        }
    } while (!into->len);
    return true;
}
