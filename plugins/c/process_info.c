// Answers with what the host tells about the process, one line each.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include "host/http.h"

struct text {
    char bytes[16384];
    size_t size;
};

static void line(struct text *text, const char *format, ...) {
    va_list values;
    va_start(values, format);
    size_t room = sizeof text->bytes - text->size;
    int size = vsnprintf(text->bytes + text->size, room, format, values);
    va_end(values);
    if (size > 0) text->size += (size_t)size < room ? (size_t)size : room - 1;
}

static void string(struct text *text, const char *name, void (*get)(plugin_string_t *)) {
    plugin_string_t value;
    get(&value);
    line(text, "%s %.*s\n", name, (int)value.len, (char *)value.ptr);
    plugin_string_free(&value);
}

static void strings(struct text *text, const char *name, void (*get)(plugin_list_string_t *)) {
    plugin_list_string_t list;
    get(&list);
    line(text, "%s", name);
    for (size_t i = 0; i < list.len; i++) line(text, " %.*s", (int)list.ptr[i].len, (char *)list.ptr[i].ptr);
    line(text, "\n");
    plugin_list_string_free(&list);
}

static void pairs(struct text *text, const char *name, void (*get)(plugin_list_tuple2_string_string_t *)) {
    plugin_list_tuple2_string_string_t list;
    get(&list);
    for (size_t i = 0; i < list.len; i++) {
        plugin_tuple2_string_string_t *pair = &list.ptr[i];
        line(text, "%s.%.*s %.*s\n", name, (int)pair->f0.len, (char *)pair->f0.ptr, (int)pair->f1.len,
             (char *)pair->f1.ptr);
    }
    plugin_list_tuple2_string_string_free(&list);
}

static void identity(struct text *text) {
    host_cluster_process_process_identity_t self;
    host_cluster_process_identity(&self);
    line(text, "pid %" PRIu32 "\nppid %" PRIu32 "\n", self.pid, self.primary_pid);
    if (self.worker.is_some) line(text, "worker %" PRIu32 "\n", self.worker.val);
    line(text, "generation %" PRIu32 "\n", self.generation);
}

static void usage(struct text *text) {
    host_cluster_process_memory_counters_t memory;
    host_cluster_process_cpu_counters_t cpu;
    host_cluster_process_memory_usage(&memory);
    host_cluster_process_cpu_usage(&cpu);
    line(text, "rss %" PRIu64 "\nguest %" PRIu64 "\ninstance %" PRIu64 "\n", memory.rss, memory.guest, memory.instance);
    line(text, "user %" PRIu64 "\nsystem %" PRIu64 "\n", cpu.user, cpu.system);
    line(text, "uptime %" PRIu64 "\nhrtime %" PRIu64 "\n", host_cluster_process_uptime(), host_cluster_process_hrtime());
}

static void credentials(struct text *text) {
    host_cluster_process_process_credentials_t user;
    host_cluster_process_credentials(&user);
    line(text, "uid %" PRIu32 "\ngid %" PRIu32 "\n", user.uid, user.gid);
    plugin_list_u32_free(&user.groups);
}

void exports_wasi_http_incoming_handler_handle(host_request request, host_response out) {
    static struct text text;
    text.size = 0;
    wasi_http_types_incoming_request_drop_own(request);
    identity(&text);
    string(&text, "title", host_cluster_process_title);
    string(&text, "arch", host_cluster_process_arch);
    string(&text, "platform", host_cluster_process_platform);
    string(&text, "execPath", host_cluster_process_exec_path);
    strings(&text, "execArgv", host_cluster_process_exec_arguments);
    strings(&text, "argv", host_cluster_process_arguments);
    pairs(&text, "versions", host_cluster_process_versions);
    pairs(&text, "config", host_cluster_process_config);
    usage(&text);
    credentials(&text);
    host_respond(out, 200, "text/plain", text.bytes, text.size);
}
