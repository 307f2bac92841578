// Messages to the primary program.
#pragma once
#include "host/io.h"

// Sends bytes, waiting if the queue is full. False, and why in `error`, if there is nobody to send to or the
// message is too large. `error` may be NULL.
static inline bool host_send(const void *data, size_t size, host_cluster_ipc_message_error_t *error) {
    host_cluster_ipc_message_error_t ignored;
    plugin_list_u8_t body = {(uint8_t *)data, size};
    return host_cluster_ipc_blocking_send(&body, error ? error : &ignored);
}
