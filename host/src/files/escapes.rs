//! What an escaped worker could ask for. Every directory here is one it may really have.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use nix::errno::Errno;

use super::beneath::Granted;
use crate::sandbox::Grant;
use crate::sys::trap::{Answer, Call};

/// A secret, and beside it a directory for writing and one for reading, with ways out of both.
struct World {
    root: PathBuf,
    writable: File,
    readable: File,
    granted: Granted,
}

impl World {
    fn new(name: &str) -> World {
        let name = format!("host-files-{}-{name}", std::process::id());
        let root = std::env::temp_dir().join(name);
        for dir in ["writable/below", "readable/below"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::write(root.join("secret"), "secret").unwrap();
        fs::write(root.join("writable/note"), "note").unwrap();
        fs::write(root.join("readable/note"), "note").unwrap();
        symlink("../secret", root.join("writable/out")).unwrap();
        symlink("..", root.join("writable/up")).unwrap();
        symlink(root.join("secret"), root.join("writable/absolute")).unwrap();
        let open = |name: &str| File::open(root.join(name)).unwrap();
        let (writable, readable) = (open("writable"), open("readable"));
        let grants = [
            Grant { fd: writable.as_fd(), read_only: false },
            Grant { fd: readable.as_fd(), read_only: true },
        ];
        let granted = Granted::new(&grants).unwrap();
        World { root, writable, readable, granted }
    }

    /// In the directory for writing.
    fn ask(&self, call: &Call) -> Answer {
        self.granted.make(call, &[self.writable.as_fd(), self.writable.as_fd()])
    }

    fn refuses(&self, call: &Call) -> Errno {
        match self.ask(call) {
            Ok(_) => panic!("{call:?} was done"),
            Err(errno) => errno,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn text(path: &CStr) -> CString {
    path.to_owned()
}

fn open(path: &CStr, flags: i32) -> Call {
    Call::Open { path: text(path), flags, mode: 0o7777, resolve: 0 }
}

const OUT: [&CStr; 7] =
    [c"../secret", c"below/../../secret", c"out", c"up/secret", c"absolute", c"/etc/passwd", c".."];

#[test]
fn what_leads_out_is_not_opened() {
    let world = World::new("open");
    for path in OUT {
        for flags in [libc::O_RDONLY, libc::O_PATH, libc::O_WRONLY | libc::O_CREAT] {
            assert_eq!(world.refuses(&open(path, flags)), Errno::EXDEV, "{path:?} {flags:o}");
        }
    }
    let (_, note) = world.ask(&open(c"below/../note", libc::O_RDONLY)).unwrap();
    let mut read = String::new();
    File::from(note.unwrap()).read_to_string(&mut read).unwrap();
    assert_eq!(read, "note");
}

#[test]
fn what_leads_out_is_not_looked_at() {
    let world = World::new("stat");
    for path in OUT.into_iter().chain([c"up/", c"up/."]) {
        let flags = if path.to_bytes().ends_with(b"/") { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
        let call = Call::Stat { path: text(path), flags };
        assert_eq!(world.refuses(&call), Errno::EXDEV, "{path:?}");
        let call = Call::Statx { path: text(path), flags, mask: libc::STATX_ALL };
        assert_eq!(world.refuses(&call), Errno::EXDEV, "{path:?}");
    }
    for path in [c"../secret", c"up/secret", c"/etc/localtime"] {
        assert_eq!(world.refuses(&Call::ReadLink { path: text(path) }), Errno::EXDEV);
    }
    // Links themselves are inside.
    let itself = Call::Stat { path: text(c"out"), flags: libc::AT_SYMLINK_NOFOLLOW };
    assert!(world.ask(&itself).is_ok());
    let says = world.ask(&Call::ReadLink { path: text(c"out") }).unwrap();
    assert_eq!(says.0, b"../secret");
}

#[test]
fn nothing_outside_is_changed() {
    let world = World::new("change");
    let (from, to) = (text(c"note"), text(c"../stolen"));
    let times = [(1, 0); 2];
    let nofollow = libc::AT_SYMLINK_NOFOLLOW;
    let calls = [
        Call::MakeDir { path: to.clone(), mode: 0o777 },
        Call::Remove { path: text(c"../secret"), flags: 0 },
        Call::Remove { path: text(c"up/readable/below"), flags: libc::AT_REMOVEDIR },
        Call::Rename { from: from.clone(), to: to.clone(), flags: 0 },
        Call::Rename { from: text(c"up/secret"), to: from.clone(), flags: 0 },
        Call::Link { from: text(c"../secret"), to: text(c"mine"), flags: 0 },
        Call::Link { from, to, flags: 0 },
        Call::SymLink { target: text(c"note"), path: text(c"up/link") },
        Call::SetTimes { path: Some(text(c"../secret")), times, flags: nofollow },
        Call::SetTimes { path: Some(text(c"/secret")), times, flags: nofollow },
    ];
    for call in calls {
        assert_eq!(world.refuses(&call), Errno::EXDEV, "{call:?}");
    }
    let follow =
        Call::Link { from: text(c"out"), to: text(c"mine"), flags: libc::AT_SYMLINK_FOLLOW };
    assert_eq!(world.refuses(&follow), Errno::EINVAL);
    let follow = Call::SetTimes { path: Some(text(c"out")), times, flags: 0 };
    assert_eq!(world.refuses(&follow), Errno::EACCES);
    let left = fs::read_dir(&world.root).unwrap().count();
    assert_eq!(left, 3, "beside the secret are two directories");
}

#[test]
fn no_file_gets_another_identity_or_no_name() {
    let world = World::new("mode");
    world.ask(&open(c"new", libc::O_WRONLY | libc::O_CREAT)).unwrap();
    let mode = fs::metadata(world.root.join("writable/new")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7000, 0, "{mode:o}");
    let call = Call::MakeDir { path: text(c"dir"), mode: 0o7777 };
    world.ask(&call).unwrap();
    let mode = fs::metadata(world.root.join("writable/dir")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7000, 0, "{mode:o}");
    assert_eq!(world.refuses(&open(c".", libc::O_TMPFILE | libc::O_RDWR)), Errno::EOPNOTSUPP);
    let leads_out_for_others = Call::SymLink { target: text(c"/etc"), path: text(c"etc") };
    assert_eq!(world.refuses(&leads_out_for_others), Errno::EPERM);
}

#[test]
fn times_are_set_only_where_may_be_written() {
    let world = World::new("times");
    let (path, flags, times) = (text(c"note"), libc::AT_SYMLINK_NOFOLLOW, [(7, 0); 2]);
    let of = |dir: &File, path: Option<CString>| {
        world.granted.make(&Call::SetTimes { path, times, flags }, &[dir.as_fd()])
    };
    let below = |name: &str| File::open(world.root.join(name)).unwrap();
    of(&world.writable, Some(path.clone())).unwrap();
    of(&below("writable/below"), None).unwrap();
    assert_eq!(fs::metadata(world.root.join("writable/note")).unwrap().mtime(), 7);
    assert_eq!(of(&world.readable, Some(path)).unwrap_err(), Errno::EPERM);
    assert_eq!(of(&below("readable/below"), None).unwrap_err(), Errno::EPERM);
    assert_eq!(of(&below("readable/note"), None).unwrap_err(), Errno::EPERM);
}

#[test]
fn a_descriptor_that_is_no_directory_leads_nowhere() {
    let world = World::new("socket");
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    for path in [c"note", c"below/note", c"../secret"] {
        let call = open(path, libc::O_RDONLY);
        let answer = world.granted.make(&call, &[socket.as_fd()]);
        assert_eq!(answer.unwrap_err(), Errno::ENOTDIR);
    }
    assert_eq!(world.granted.make(&open(c"note", 0), &[]).unwrap_err(), Errno::EBADF);
    let one = Call::Rename { from: text(c"note"), to: text(c"other"), flags: 0 };
    let answer = world.granted.make(&one, &[world.writable.as_fd()]);
    assert_eq!(answer.unwrap_err(), Errno::EBADF);
}
