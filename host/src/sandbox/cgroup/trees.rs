//! Where in the trees of control groups this process is, from what the kernel says of it.

use std::fs;
use std::path::Path;

use super::{OWN, PREFIX, Place, WANTED};

/// Where this process is in each tree that has a controller we want; version 2 first.
pub fn trees(mountinfo: &str, own: &str) -> Vec<Place> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        // id parent device root mountpoint options… - type source super-options
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let front: Vec<&str> = front.split(' ').collect();
        let back: Vec<&str> = back.split(' ').collect();
        let ([_, _, _, root, mount, ..], [kind, _, options]) = (&front[..], &back[..]) else {
            continue;
        };
        let version = match *kind {
            "cgroup2" => 2,
            "cgroup" => 1,
            _ => continue,
        };
        let controllers: Vec<&str> = match version {
            1 => WANTED.into_iter().filter(|name| options.split(',').any(|o| o == *name)).collect(),
            _ => Vec::new(),
        };
        let Some(path) = own_path(own, controllers.first().copied()) else { continue };
        if version == 1 && controllers.is_empty() {
            continue;
        }
        // A container may see a part of the tree as the whole.
        let inside = path.strip_prefix(root.trim_end_matches('/')).unwrap_or("");
        let dir = Path::new(mount).join(above_own(inside).trim_start_matches('/'));
        let controllers = match version {
            1 => controllers.into_iter().map(str::to_owned).collect(),
            _ => offered(&dir),
        };
        found.push(Place { version, controllers, dir });
    }
    found.sort_by_key(|place| std::cmp::Reverse(place.version));
    found
}

/// From `/proc/self/cgroup`: version 2 has no controllers in its line.
fn own_path<'a>(own: &'a str, controller: Option<&str>) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        let fits = match controller {
            Some(wanted) => names.split(',').any(|name| name == wanted),
            None => names.is_empty(),
        };
        fits.then_some(path)
    })
}

/// One that takes over from another begins inside the other's groups.
fn above_own(path: &str) -> &str {
    let Some(above) = path.strip_suffix(&format!("/{OWN}")) else { return path };
    match above.rsplit_once('/') {
        Some((base, last)) if last.starts_with(PREFIX) => base,
        _ => path,
    }
}

pub fn offered(dir: &Path) -> Vec<String> {
    let all = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let wanted = |name: &&str| WANTED.contains(name);
    all.split_whitespace().filter(wanted).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "30 23 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        31 23 0:27 /docker/ab /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
        32 23 0:28 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n\
        33 23 0:29 / / rw - ext4 /dev/root rw\n";

    #[test]
    fn each_tree_of_version_1_has_a_path_of_its_own() {
        let own = "4:memory:/docker/ab/inner\n3:blkio:/\n1:cpu,cpuacct:/a\n0::/\n";
        let found = trees(V1, own);
        let places: Vec<(&str, &str)> = found
            .iter()
            .map(|place| (place.controllers[0].as_str(), place.dir.to_str().unwrap()))
            .collect();
        let memory = ("memory", "/sys/fs/cgroup/memory/inner");
        assert_eq!(places, [("cpu", "/sys/fs/cgroup/cpu/a"), memory]);
    }

    #[test]
    fn who_takes_over_stands_beside_its_predecessor() {
        assert_eq!(above_own("/a.service/host-12/primary"), "/a.service");
        assert_eq!(above_own("/a.service/primary"), "/a.service/primary");
        assert_eq!(own_path("4:memory:/x\n0::/a/b\n", None), Some("/a/b"));
        assert_eq!(own_path("1:cpu,cpuacct:/x\n", Some("cpu")), Some("/x"));
    }
}
