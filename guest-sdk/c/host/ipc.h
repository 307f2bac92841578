// Messages to the primary program.
#pragma once
#include "host/io.h"

// Sends bytes, waiting if the queue is full. False, and why in `error`, if there is nobody to send to or the
// message is too large. `error` may be NULL.
static inline bool host_send(const void *data, size_t size, host_cluster_ipc_message_error_t *error) {
    host_cluster_ipc_message_error_t ignored;
    plugin_list_u8_t body = {(uint8_t *)data, size};
    if (!error) error = &ignored;
    while (!host_cluster_ipc_send(&body, error)) {
        if (error->tag != HOST_CLUSTER_MESSAGES_MESSAGE_ERROR_WOULD_BLOCK) return false;
        host_wait(host_cluster_ipc_subscribe_send());
    }
    return true;
}
