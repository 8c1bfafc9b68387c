//! Tests on folders that look like control groups; those on real ones are in `tests/collect`.

use super::*;
use std::sync::atomic::{AtomicI64, Ordering};

static NOW_NS: AtomicI64 = AtomicI64::new(0);

fn now_ns() -> i64 {
    NOW_NS.load(Ordering::Relaxed)
}

fn cgroups(root: &Path, patterns: &str) -> Cgroups {
    fs::write(root.join("cgroup.procs"), "").unwrap();
    let patterns = Pattern::list(patterns).unwrap();
    Cgroups::new(root, patterns, HostId::new("h"), Grid::new(1000, 1000)).unwrap()
}

fn group(root: &Path, path: &str, file: &str, text: &str) {
    fs::create_dir_all(root.join(path)).unwrap();
    fs::write(root.join(path).join(file), text).unwrap();
}

#[test]
fn both_versions_count() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut groups = cgroups(root, "t/*");
    let mut frames = Frames::new(1000);
    for second in 0..4u64 {
        NOW_NS.store(second as i64 * 1_000_000_000, Ordering::Relaxed);
        let stat = format!("usage_usec {}\nuser_usec 1\nsystem_usec 2\n", second * 250_000);
        group(root, "t/two", "cpu.stat", &stat);
        group(root, "t/one", "cpuacct.usage", &format!("{}\n", second * 500_000_000));
        group(root, "t/none", "cpu.shares", "1024\n");
        // Version 1 has a cpu.stat of another kind.
        group(root, "t/one", "cpu.stat", "nr_periods 0\n");
        if second == 2 {
            group(root, "t/broken", "cpu.stat", "nr_periods 0\n");
        }
        groups.scan().unwrap();
        groups.read(now_ns, &mut frames);
    }
    groups.flush(&mut frames);
    assert_eq!(groups.len(), 2);
    let mut said = vec![];
    frames.finish(|frame| {
        said.extend(frame.rows.iter().map(|row| (frame.end, row.vm.to_string(), row.cpu_ppm.to_vec())))
    });
    let of = |end, vm: &str, ppm| (end, vm.to_string(), vec![ppm]);
    let second = |end| [of(end, "h/one", 500_000), of(end, "h/two", 250_000)];
    assert_eq!(said, [second(1), second(2), second(3)].concat());
}

#[test]
fn names_are_apart() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for path in ["a/web", "b/web", "a/db"] {
        group(root, path, "cpuacct.usage", "0\n");
    }
    let mut groups = cgroups(root, "a/*,b/*,*/web");
    groups.scan().unwrap();
    groups.scan().unwrap();
    let names: Vec<&str> = groups.groups.values().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["db", "web", "b.web"]);
}

#[test]
fn what_is_no_hierarchy_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let refused = Cgroups::new(root.path(), vec![], HostId::new("h"), Grid::new(1000, 1000)).unwrap_err();
    assert!(matches!(refused, CgroupError::NotARoot(_)));
}

#[test]
fn usage() {
    let rows: [(&[u8], Option<u64>); 6] = [
        (b"usage_usec 18446744073709\nuser_usec 3\n", Some(18_446_744_073_709_000)),
        (b"user_usec 3\nusage_usec 5", Some(5_000)),
        (b"usage_usec 18446744073709551615\n", None),
        (b"usage_usec x\n", None),
        (b"nr_periods 0\n", None),
        (b"", None),
    ];
    for (text, want) in rows {
        assert_eq!(usage_ns(text), want, "{}", String::from_utf8_lossy(text));
    }
}
