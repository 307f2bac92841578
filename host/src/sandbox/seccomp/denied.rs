//! What is taken from processes that may otherwise do anything inside their namespaces: the resolver,
//! whose C library does much, and native programs. With a reason for each.

use libc::*;

/// Neither may.
pub const TO_BOTH: &[(i64, &str)] = &[
    (SYS_ptrace, "looks into no process"),
    (SYS_process_vm_readv, "looks into no process"),
    (SYS_process_vm_writev, "looks into no process"),
    (SYS_mount, "mounts nothing"),
    (SYS_umount2, "mounts nothing"),
    (SYS_pivot_root, "keeps its root"),
    (SYS_chroot, "keeps its root"),
    (SYS_unshare, "makes no namespace"),
    (SYS_setns, "enters no namespace"),
    (SYS_open_by_handle_at, "opens by path only"),
    (SYS_bpf, "a part of the kernel with a history"),
    (SYS_perf_event_open, "the same"),
    (SYS_userfaultfd, "the same"),
    (SYS_io_uring_setup, "the same, and a way around filters"),
    (SYS_keyctl, "the same"),
    (SYS_add_key, "the same"),
    (SYS_request_key, "the same"),
];

/// Nor may a native program.
pub const TO_PROGRAMS: &[(i64, &str)] = &[
    (SYS_move_mount, "mounts nothing"),
    (SYS_open_tree, "mounts nothing"),
    (SYS_fsopen, "mounts nothing"),
    (SYS_fsmount, "mounts nothing"),
    (SYS_fsconfig, "mounts nothing"),
    (SYS_mount_setattr, "mounts nothing"),
    (SYS_init_module, "leaves the kernel as it is"),
    (SYS_finit_module, "leaves the kernel as it is"),
    (SYS_delete_module, "leaves the kernel as it is"),
    (SYS_kexec_load, "leaves the kernel as it is"),
    (SYS_reboot, "leaves the machine as it is"),
    (SYS_swapon, "leaves the machine as it is"),
    (SYS_swapoff, "leaves the machine as it is"),
    (SYS_settimeofday, "leaves the clock as it is"),
    (SYS_clock_settime, "leaves the clock as it is"),
    (SYS_acct, "leaves the machine as it is"),
    (SYS_quotactl, "leaves the machine as it is"),
];

/// Nor may the resolver.
pub const TO_RESOLVER: &[(i64, &str)] = &[
    (SYS_execve, "runs no program"),
    (SYS_execveat, "runs no program"),
    (SYS_kill, "signals nobody"),
];

pub fn to_programs() -> impl Iterator<Item = &'static (i64, &'static str)> {
    TO_BOTH.iter().chain(TO_PROGRAMS)
}

pub fn to_resolver() -> impl Iterator<Item = &'static (i64, &'static str)> {
    TO_BOTH.iter().chain(TO_RESOLVER)
}
