// Sends every connection's bytes back to it.
#include "host/io.h"

typedef exports_host_cluster_connection_handler_own_connection_t connection_t;

static void echo(host_cluster_connections_own_input_stream_t input, host_cluster_connections_own_output_stream_t output) {
    plugin_list_u8_t bytes;
    bool open = true;
    while (open && host_read(wasi_io_streams_borrow_input_stream(input), 65536, &bytes)) {
        open = host_write(wasi_io_streams_borrow_output_stream(output), bytes.ptr, bytes.len);
        plugin_list_u8_free(&bytes);
    }
}

bool exports_host_cluster_connection_handler_handle(connection_t connection, plugin_string_t *err) {
    host_cluster_connections_borrow_connection_t borrowed = host_cluster_connections_borrow_connection(connection);
    host_cluster_connections_own_input_stream_t input;
    host_cluster_connections_own_output_stream_t output;
    host_cluster_connections_connection_error_t error;
    if (!host_cluster_connections_method_connection_input_stream(borrowed, &input, &error) ||
        !host_cluster_connections_method_connection_output_stream(borrowed, &output, &error)) {
        plugin_string_dup(err, "the connection's streams are taken");
        return false;
    }
    echo(input, output);
    wasi_io_streams_input_stream_drop_own(input);
    wasi_io_streams_output_stream_drop_own(output);
    host_cluster_connections_connection_drop_own(connection);
    return true;
}
