//! Answers with what the host tells about the process, one line each.
const std = @import("std");
const host = @import("host.zig");
const wit = host.wit;

const Text = std.Io.Writer;

fn string(text: *Text, name: []const u8, get: *const fn (*wit.plugin_string_t) callconv(.c) void) !void {
    var value: wit.plugin_string_t = undefined;
    get(&value);
    defer wit.plugin_string_free(&value);
    try text.print("{s} {s}\n", .{ name, slice(value) });
}

fn strings(text: *Text, name: []const u8, get: *const fn (*wit.plugin_list_string_t) callconv(.c) void) !void {
    var list: wit.plugin_list_string_t = undefined;
    get(&list);
    defer wit.plugin_list_string_free(&list);
    try text.writeAll(name);
    for (list.ptr[0..list.len]) |value| try text.print(" {s}", .{slice(value)});
    try text.writeByte('\n');
}

const Pairs = wit.plugin_list_tuple2_string_string_t;

fn pairs(text: *Text, name: []const u8, get: *const fn (*Pairs) callconv(.c) void) !void {
    var list: Pairs = undefined;
    get(&list);
    defer wit.plugin_list_tuple2_string_string_free(&list);
    for (list.ptr[0..list.len]) |pair| try text.print("{s}.{s} {s}\n", .{ name, slice(pair.f0), slice(pair.f1) });
}

fn slice(value: wit.plugin_string_t) []const u8 {
    return value.ptr[0..value.len];
}

fn identity(text: *Text) !void {
    var self: wit.host_cluster_process_process_identity_t = undefined;
    wit.host_cluster_process_identity(&self);
    try text.print("pid {d}\nppid {d}\n", .{ self.pid, self.primary_pid });
    if (self.worker.is_some) try text.print("worker {d}\n", .{self.worker.val});
    try text.print("generation {d}\n", .{self.generation});
}

fn usage(text: *Text) !void {
    var memory: wit.host_cluster_process_memory_counters_t = undefined;
    var cpu: wit.host_cluster_process_cpu_counters_t = undefined;
    wit.host_cluster_process_memory_usage(&memory);
    wit.host_cluster_process_cpu_usage(&cpu);
    try text.print("rss {d}\nguest {d}\ninstance {d}\n", .{ memory.rss, memory.guest, memory.instance });
    try text.print("user {d}\nsystem {d}\n", .{ cpu.user, cpu.system });
    try text.print("uptime {d}\nhrtime {d}\n", .{ wit.host_cluster_process_uptime(), wit.host_cluster_process_hrtime() });
}

fn credentials(text: *Text) !void {
    var user: wit.host_cluster_process_process_credentials_t = undefined;
    wit.host_cluster_process_credentials(&user);
    defer wit.plugin_list_u32_free(&user.groups);
    try text.print("uid {d}\ngid {d}\n", .{ user.uid, user.gid });
}

fn describe(text: *Text) !void {
    try identity(text);
    try string(text, "title", wit.host_cluster_process_title);
    try string(text, "arch", wit.host_cluster_process_arch);
    try string(text, "platform", wit.host_cluster_process_platform);
    try string(text, "execPath", wit.host_cluster_process_exec_path);
    try strings(text, "execArgv", wit.host_cluster_process_exec_arguments);
    try strings(text, "argv", wit.host_cluster_process_arguments);
    try pairs(text, "versions", wit.host_cluster_process_versions);
    try pairs(text, "config", wit.host_cluster_process_config);
    try usage(text);
    try credentials(text);
}

var buffer: [16384]u8 = undefined;

export fn exports_wasi_http_incoming_handler_handle(request: host.Request, out: host.Response) void {
    wit.wasi_http_types_incoming_request_drop_own(request);
    var text: Text = .fixed(&buffer);
    // What does not fit is cut off.
    describe(&text) catch {};
    host.respond(out, 200, "text/plain", text.buffered()) catch {};
}
