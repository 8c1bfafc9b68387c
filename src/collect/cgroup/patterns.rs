//! Patterns of paths of control groups, such as `machine.slice/*`: `*`, `?` and `[…]` stand for parts of one
//! name, never for a `/`. Finding what matches lists only folders in which something can.

use std::fs;
use std::path::Path;

use glob::{MatchOptions, Pattern as Glob};

/// What is a VM if nothing is said: systemd's machines (libvirt's, systemd-nspawn's) and libvirt's own folders,
/// Kubernetes' pods, LXC, Docker.
pub const DEFAULT: &str = "machine.slice/*,machine/*,kubepods/pod*,kubepods/*/pod*,kubepods.slice/kubepods-pod*.slice,\
                           kubepods.slice/*/kubepods-*-pod*.slice,lxc/*,lxc.payload.*,lxc.payload/*,docker/*,\
                           system.slice/docker-*.scope";

/// Two names of one level, and no hidden ones.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A pattern that was understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Literal(String),
    Glob(Glob),
}

impl Pattern {
    /// Understands one pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let text = text.trim().trim_matches('/');
        let part = |part: &str| match part {
            "" | "." | ".." | "**" => {
                Err(format!("`{text}`: every part between slashes is a name or a pattern of names"))
            }
            part if part.contains(['*', '?', '[']) => {
                Glob::new(part).map(Part::Glob).map_err(|error| format!("`{text}`: {}", error.msg))
            }
            part => Ok(Part::Literal(part.to_owned())),
        };
        text.split('/').map(part).collect::<Result<Vec<Part>, String>>().map(Pattern)
    }

    /// Understands a list with commas.
    ///
    /// # Errors
    /// What is wrong with the first wrong one.
    pub fn list(text: &str) -> Result<Vec<Pattern>, String> {
        text.split(',').map(Pattern::new).collect()
    }

    /// Tells `each` the folders below `root` that match, by their paths from there. What cannot be listed, or
    /// has a name that is not UTF-8, is not there.
    pub fn find(&self, root: &Path, each: &mut impl FnMut(&str)) {
        find(root, String::new(), &self.0, each);
    }
}

fn find(root: &Path, path: String, parts: &[Part], each: &mut impl FnMut(&str)) {
    let Some((first, rest)) = parts.split_first() else { return each(&path) };
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
    let glob = match first {
        Part::Literal(name) => {
            let path = below(name);
            // One that has more parts fails where it lists, or does not find.
            if !rest.is_empty() || root.join(&path).is_dir() {
                find(root, path, rest, each);
            }
            return;
        }
        Part::Glob(glob) => glob,
    };
    let Ok(entries) = fs::read_dir(root.join(&path)) else { return };
    for entry in entries.flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && entry.file_name().to_str().is_some_and(|name| glob.matches_with(name, OPTIONS)) {
            find(root, below(&entry.file_name().to_string_lossy()), rest, each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_match_names() {
        let root = tempfile::tempdir().unwrap();
        for path in [
            "machine.slice/a.scope",
            "machine.slice/b",
            "kubepods/burstable/podx/c",
            "lxc/.hidden",
            "t/1/web",
        ] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        fs::write(root.path().join("machine.slice/file"), "").unwrap();
        let rows: [(&str, &[&str]); 8] = [
            ("machine.slice/*", &["machine.slice/a.scope", "machine.slice/b"]),
            ("/machine.slice/[a]*/", &["machine.slice/a.scope"]),
            ("kubepods/*/pod*", &["kubepods/burstable/podx"]),
            ("kubepods/pod*", &[]),
            ("lxc/*", &[]),
            ("t/1/web", &["t/1/web"]),
            ("t/2/web", &[]),
            ("*/?/*", &["machine.slice/b", "t/1/web"][1..]),
        ];
        for (text, want) in rows {
            let mut found = vec![];
            Pattern::new(text).unwrap().find(root.path(), &mut |path| found.push(path.to_owned()));
            found.sort();
            assert_eq!(found, want, "{text}");
        }
        for wrong in ["", "a//b", "../x", "a/**", "[", "a,,b"] {
            assert!(Pattern::list(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Pattern::list(DEFAULT).unwrap().len(), 11);
    }
}
