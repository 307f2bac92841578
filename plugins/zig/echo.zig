//! Sends every connection's bytes back to it.
const host = @import("host.zig");
const wit = host.wit;

const Input = wit.host_cluster_connections_own_input_stream_t;
const Output = wit.host_cluster_connections_own_output_stream_t;

fn echo(input: Input, output: Output) void {
    while (host.read(wit.wasi_io_streams_borrow_input_stream(input), 65536)) |bytes| {
        defer host.free(bytes);
        host.write(wit.wasi_io_streams_borrow_output_stream(output), bytes) catch return;
    }
}

export fn exports_host_cluster_connection_handler_handle(
    connection: wit.exports_host_cluster_connection_handler_own_connection_t,
    failure: *wit.plugin_string_t,
) bool {
    const borrowed = wit.host_cluster_connections_borrow_connection(connection);
    var input: Input = undefined;
    var output: Output = undefined;
    var reason: wit.host_cluster_connections_connection_error_t = undefined;
    if (!wit.host_cluster_connections_method_connection_input_stream(borrowed, &input, &reason) or
        !wit.host_cluster_connections_method_connection_output_stream(borrowed, &output, &reason))
    {
        wit.plugin_string_dup(failure, "the connection's streams are taken");
        return false;
    }
    echo(input, output);
    wit.wasi_io_streams_input_stream_drop_own(input);
    wit.wasi_io_streams_output_stream_drop_own(output);
    wit.host_cluster_connections_connection_drop_own(connection);
    return true;
}
